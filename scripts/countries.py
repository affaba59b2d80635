"""Make src/whichland/geo/countries.csv: every ISO 3166-1 country with its names, region and driving side.

    npm pack @rapideditor/country-coder && tar xzf rapideditor-country-coder-*.tgz
    python scripts/countries.py package/src/data/borders.json

Codes, names, UN M49 regions and driving sides are country-coder's (ISC licence, see
src/whichland/geo/countries.LICENSE); everyday names and other spellings are the tables below.
"""

import csv
import json
import sys
from pathlib import Path
from typing import Any

OUT = Path(__file__).parent.parent / "src/whichland/geo/countries.csv"

# country-coder also knows codes that ISO only reserves; their land belongs to a country proper.
RESERVED = {"AC": "SH", "CP": "FR", "CQ": "GG", "DG": "IO", "EA": "ES", "FX": "FR", "IC": "ES", "TA": "SH"}
NOT_LAND = {"EU", "UN"}

# Everyday names, where country-coder gives an official or an abbreviated one.
NAMES = {
    "BS": "Bahamas",
    "CN": "China",
    "CY": "Cyprus",
    "DK": "Denmark",
    "FM": "Micronesia",
    "GG": "Guernsey",
    "GM": "Gambia",
    "IE": "Ireland",
    "JE": "Jersey",
    "KN": "Saint Kitts and Nevis",
    "LC": "Saint Lucia",
    "MF": "Saint Martin",
    "NL": "Netherlands",
    "BL": "Saint Barthélemy",
    "GS": "South Georgia and the South Sandwich Islands",
    "ST": "São Tomé and Príncipe",
    "TL": "Timor-Leste",
    "US": "United States",
    "VC": "Saint Vincent and the Grenadines",
}

# Other spellings in English: former, official, ISO's own inverted ones and what data sets write.
ALIASES = {
    "AE": "UAE; Emirates",
    "AX": "Aland; Åland",
    "BA": "Bosnia; Bosnia-Herzegovina; Bosnia and Herz.",
    "BL": "St Barths; St Barts",
    "BN": "Brunei Darussalam",
    "BO": "Plurinational State of Bolivia",
    "BQ": "Bonaire, Sint Eustatius and Saba; Bonaire; Bonaire, Saint Eustatius and Saba",
    "BY": "Byelorussia",
    "CC": "Cocos Islands; Keeling Islands",
    "CD": "DR Congo; DRC; Congo (Kinshasa); Congo-Kinshasa; Congo DR; Congo, The Democratic Republic of the; "
    "Dem. Rep. Congo; Congo, Dem. Rep.; Zaire",
    "CF": "CAR",
    "CG": "Congo; Congo (Brazzaville); Congo-Brazzaville; Congo, Rep.",
    "CI": "Ivory Coast; Cote dIvoire; Republic of Côte d'Ivoire",
    "CN": "PRC; Mainland China",
    "CV": "Cabo Verde",
    "CZ": "Czech Republic",
    "DE": "Federal Republic of Germany",
    "DO": "Dominican Rep.",
    "EH": "Sahrawi Arab Democratic Republic",
    "ES": "Canary Islands; Canaries; Ceuta; Melilla",
    "FK": "Falklands; Falkland Islands (Malvinas); Falkland Islands (Islas Malvinas)",
    "FM": "Federated States of Micronesia; Micronesia (Federated States of)",
    "FO": "Faroes; Faeroe Islands; The Faroes",
    "FR": "Metropolitan France; Clipperton Island",
    "GB": "UK; Great Britain; Britain; England; Scotland; Wales; Northern Ireland; "
    "United Kingdom of Great Britain and Northern Ireland",
    "GF": "French Guyana",
    "GG": "Sark; Alderney; Bailiwick of Guernsey",
    "GR": "Hellas; Hellenic Republic; EL",
    "GS": "South Georgia; South Georgia and South Sandwich Islands",
    "HK": "Hong Kong SAR; Hong Kong SAR China; Hong Kong S.A.R.",
    "HM": "Heard and McDonald Islands",
    "IE": "Eire; Irish Republic",
    "IO": "Diego Garcia; Chagos; Chagos Archipelago",
    "IR": "Islamic Republic of Iran; Iran (Islamic Republic of); Persia",
    "JE": "Bailiwick of Jersey",
    "KG": "Kyrgyz Republic; Kirghizia",
    "KH": "Kampuchea",
    "KN": "St Kitts; Saint Christopher and Nevis",
    "KP": "DPRK; Democratic People's Republic of Korea; Korea (Democratic People's Republic of); "
    "Korea North; Korea, Dem. People's Rep.",
    "KR": "Korea; ROK; Republic of Korea; Korea South",
    "LA": "Lao; Lao PDR; Lao People's Democratic Republic",
    "LY": "Libyan Arab Jamahiriya",
    "MD": "Republic of Moldova; Moldavia",
    "MF": "St Martin (French part); Collectivity of Saint Martin",
    "MK": "Macedonia; FYROM; FYR Macedonia; Republic of Macedonia; Republic of North Macedonia; "
    "The Former Yugoslav Republic of Macedonia",
    "MM": "Burma; Myanmar (Burma)",
    "MO": "Macao; Macau SAR; Macao SAR; Macao SAR China; Macau S.A.R.",
    "MP": "Northern Marianas; Saipan",
    "MV": "Maldive Islands",
    "NL": "Holland; Netherlands (Kingdom of the)",
    "PF": "Tahiti",
    "PG": "Papua",
    "PM": "Saint-Pierre-et-Miquelon",
    "PN": "Pitcairn",
    "PS": "West Bank; Gaza; Gaza Strip; West Bank and Gaza; State of Palestine; Palestinian Territory; "
    "Palestinian Territories; Occupied Palestinian Territory",
    "RE": "La Réunion; Reunion Island",
    "RU": "Russian Federation",
    "SH": "Saint Helena; Ascension Island; Ascension; Tristan da Cunha",
    "SJ": "Svalbard; Jan Mayen; Svalbard and Jan Mayen Islands",
    "ST": "Sao Tome",
    "SX": "Saint Maarten; St Maarten; Sint Maarten (Dutch part)",
    "SY": "Syrian Arab Republic",
    "SZ": "Swaziland; eSwatini",
    "TC": "Turks and Caicos",
    "TF": "French Southern and Antarctic Lands; French Southern and Antarctic Territories",
    "TL": "East Timor; Democratic Republic of Timor-Leste",
    "TR": "Türkiye; Turkiye; Republic of Türkiye",
    "TT": "Trinidad",
    "TW": "Republic of China; Taiwan, Province of China; Chinese Taipei; Formosa",
    "TZ": "United Republic of Tanzania; Zanzibar",
    "UM": "US Minor Outlying Islands",
    "US": "USA; United States of America; America; The States",
    "VA": "Vatican; Holy See; Vatican City State; Holy See (Vatican City State)",
    "VC": "Saint Vincent",
    "VE": "Bolivarian Republic of Venezuela; Venezuela (Bolivarian Republic of)",
    "VG": "Virgin Islands (British); UK Virgin Islands",
    "VI": "US Virgin Islands; Virgin Islands (U.S.); Virgin Islands; American Virgin Islands",
    "VN": "Viet Nam; Socialist Republic of Vietnam",
    "WS": "Western Samoa",
    "XK": "Republic of Kosovo",
    "ZW": "Rhodesia",
}

# M49 regions of countries that country-coder keeps in parts, and those of them that drive on the left.
REGIONS_OF_PARTED = {
    **{"AQ": "Antarctica", "AU": "053", "BQ": "029", "CN": "030", "DK": "154", "EC": "005", "ES": "039"},
    **{"FI": "154", "FR": "155", "GB": "154", "GG": "154", "ID": "035", "IN": "034", "IO": "014", "MY": "035"},
    **{"NL": "155", "NO": "154", "NZ": "053", "PS": "145", "PT": "039", "RU": "151", "SH": "011", "SJ": "154"},
    **{"TF": "014", "UM": "057", "US": "021"},
}
LEFT_OF_PARTED = {"AU", "GB", "GG", "ID", "IN", "MY", "NZ", "SH"}

# From the finest M49 region to the continent as people name it; 003, 202, 419 and 830 overlap these.
CONTINENTS = {
    "Africa": ("011", "014", "015", "017", "018"),
    "Asia": ("030", "034", "035", "143", "145"),
    "Europe": ("039", "151", "154", "155"),
    "North America": ("013", "021", "029"),
    "Oceania": ("053", "054", "057", "061"),
    "South America": ("005",),
    "Antarctica": ("Antarctica",),
}


def rows(features: list[dict[str, Any]]) -> list[dict[str, str]]:
    """Make one row a country, sorted by code."""
    properties = [feature["properties"] for feature in features]
    regions = {p["m49"]: p["nameEn"] for p in properties if "m49" in p} | {"Antarctica": "Antarctica"}
    continent_of = {region: name for name, members in CONTINENTS.items() for region in members}
    found = []
    for p in properties:
        code = p.get("iso1A2")
        if code is None or code in RESERVED or code in NOT_LAND:
            continue
        parted = REGIONS_OF_PARTED.get(code)
        region = parted or next(group for group in p["groups"] if group in continent_of)
        left = p.get("driveSide") == "left" or (parted and code in LEFT_OF_PARTED)
        found.append(
            {
                "code": code,
                "alpha3": p["iso1A3"],
                "name": NAMES.get(code, p["nameEn"]),
                "aliases": "; ".join(aliases(code, p)),
                "continent": continent_of[region],
                "region": regions[region],
                "drives_on": "left" if left else "right",
            }
        )
    return sorted(found, key=lambda row: row["code"])


def aliases(code: str, p: dict[str, Any]) -> list[str]:
    """Collect the other spellings of a country: country-coder's, reserved codes of its parts, and ours."""
    # country-coder's short aliases are number-plate and former codes, which would pass for something else
    spelled = [p["nameEn"], *(alias for alias in p.get("aliases", []) if len(alias) > 3 and "-" not in alias)]
    spelled += [part for part, owner in RESERVED.items() if owner == code]
    spelled += [alias for alias in ALIASES.get(code, "").split("; ") if alias]
    return list(dict.fromkeys(alias for alias in spelled if alias != NAMES.get(code, p["nameEn"])))


def main() -> None:
    """Read borders.json, write the CSV."""
    features = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))["features"]
    table = rows(features)
    with OUT.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(table[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(table)
    print(f"{len(table)} countries in {OUT.name}")


if __name__ == "__main__":
    main()
