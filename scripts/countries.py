"""Make src/whichland/geo/countries.csv: every ISO 3166-1 country with its names, region and driving side.

    npm pack @rapideditor/country-coder && tar xzf rapideditor-country-coder-*.tgz
    pip install babel==2.19.0
    python scripts/countries.py package/src/data/borders.json

Codes, names, UN M49 regions and driving sides are country-coder's (ISC licence), names in a country's own languages
those of CLDR, which babel brings along (Unicode licence; both in src/whichland/geo/countries.LICENSE). Everyday and
official names and other spellings are the tables below: as the UN, the World Bank, Natural Earth and FIFA write them.
"""

import csv
import json
import sys
from pathlib import Path
from typing import Any

from babel import Locale, UnknownLocaleError
from babel.languages import get_official_languages

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
    "AL": "Shqipëria",
    "AM": "Hayastan",
    "AX": "Aland; Åland",
    "BA": "Bosnia; Bosnia-Herzegovina; Bosnia and Herz.",
    "BL": "St Barths; St Barts",
    "BN": "Brunei Darussalam",
    "BO": "Plurinational State of Bolivia",
    "BQ": "Bonaire, Sint Eustatius and Saba; Bonaire; Bonaire, Saint Eustatius and Saba",
    "BT": "Druk Yul",
    "BY": "Byelorussia",
    "CC": "Cocos Islands; Keeling Islands",
    "CD": "DR Congo; DRC; Congo (DRC); Congo (Kinshasa); Congo-Kinshasa; Congo DR; "
    "Congo, The Democratic Republic of the; Dem. Rep. Congo; Congo, Dem. Rep.; Zaire",
    "CG": "Congo; Congo (Brazzaville); Congo-Brazzaville; Congo, Rep.",
    "CI": "Ivory Coast; Cote dIvoire; Republic of Côte d'Ivoire",
    "CN": "PRC; Mainland China; China PR; People's Republic of China; Zhongguo",
    "CV": "Cabo Verde; Republic of Cabo Verde; Cape Verde Islands",
    "CY": "N. Cyprus; Northern Cyprus",
    "CZ": "Czech Republic; Česká republika",
    "DE": "Federal Republic of Germany; Bundesrepublik Deutschland",
    "DO": "Dominican Rep.",
    "EG": "Misr",
    "EH": "Sahrawi Arab Democratic Republic",
    "ES": "Canary Islands; Canaries; Ceuta; Melilla",
    "FK": "Falklands; Falkland Islands (Malvinas); Falkland Islands (Islas Malvinas)",
    "FM": "Federated States of Micronesia; Micronesia (Federated States of)",
    "FO": "Faroes; Faeroe Islands; The Faroes",
    "FR": "Metropolitan France; Clipperton Island",
    "GB": "UK; Great Britain; Britain; England; Scotland; Wales; Northern Ireland; "
    "United Kingdom of Great Britain and Northern Ireland",
    "GE": "Sakartvelo",
    "GF": "French Guyana",
    "GG": "Sark; Alderney; Bailiwick of Guernsey",
    "GR": "Hellas; Hellenic Republic; EL; Ellada; Ελλάς",
    "GS": "South Georgia; South Georgia and the Islands; South Georgia and South Sandwich Islands",
    "HK": "Hong Kong, China; China, Hong Kong SAR; 香港; Hong Kong SAR; Hong Kong SAR China; Hong Kong S.A.R.",
    "HM": "Heard and McDonald Islands",
    "IE": "Eire; Irish Republic",
    "IN": "Bharat",
    "IO": "Diego Garcia; Chagos; Chagos Archipelago",
    "IR": "Islamic Republic of Iran; Iran (Islamic Republic of); Persia; IR Iran",
    "JE": "Bailiwick of Jersey",
    "JP": "Nippon; Nihon",
    "KG": "Kyrgyz Republic; Kirghizia",
    "KH": "Kampuchea",
    "KN": "St Kitts; Saint Christopher and Nevis",
    "KP": "DPRK; Democratic People's Republic of Korea; Korea (Democratic People's Republic of); "
    "Korea North; Korea, Dem. People's Rep.; Korea DPR; North Korea (DPRK); 조선",
    "KR": "Korea; ROK; Republic of Korea; Korea South; 한국; Hanguk",
    "LA": "Lao; Lao PDR; Lao People's Democratic Republic",
    "LY": "Libyan Arab Jamahiriya",
    "MD": "Republic of Moldova; Moldavia",
    "ME": "Црна Гора",
    "MF": "St Martin (French part); Collectivity of Saint Martin",
    "MK": "Macedonia; FYROM; FYR Macedonia; Republic of Macedonia; Republic of North Macedonia; "
    "The Former Yugoslav Republic of Macedonia",
    "MM": "Burma; Myanmar (Burma)",
    "MN": "Монгол Улс",
    "MO": "Macao; Macau, China; China, Macao SAR; 澳門; 澳门; Macau SAR; Macao SAR; Macao SAR China; Macau S.A.R.",
    "MP": "Northern Marianas; Saipan",
    "MV": "Maldive Islands",
    "NL": "Holland; Netherlands (Kingdom of the)",
    "NZ": "Aotearoa New Zealand",
    "PF": "Tahiti",
    "PG": "Papua",
    "PM": "Saint-Pierre-et-Miquelon",
    "PN": "Pitcairn",
    "PS": "فلسطين; West Bank; Gaza; Gaza Strip; West Bank and Gaza; State of Palestine; Palestinian Territory; "
    "Palestinian Territories; Occupied Palestinian Territory",
    "RE": "La Réunion; Reunion Island",
    "RS": "Republic of Serbia",
    "RU": "Russian Federation; Российская Федерация; Rossiya",
    "SH": "Saint Helena; Ascension Island; Ascension; Tristan da Cunha",
    "SJ": "Svalbard; Jan Mayen; Svalbard and Jan Mayen Islands",
    "SK": "Slovak Republic; Slovenská republika",
    "ST": "Sao Tome",
    "SX": "Saint Maarten; St Maarten; Sint Maarten (Dutch part)",
    "SY": "Syrian Arab Republic",
    "SZ": "Swaziland; eSwatini",
    "TC": "Turks and Caicos",
    "TF": "French Southern and Antarctic Lands; French Southern and Antarctic Territories",
    "TH": "ประเทศไทย",
    "TL": "East Timor; Democratic Republic of Timor-Leste",
    "TR": "Türkiye; Turkiye; Republic of Türkiye; Republic of Turkey",
    "TT": "Trinidad",
    "TW": "China, Taiwan Province of China; 台湾; Republic of China; Taiwan, Province of China; "
    "Chinese Taipei; Formosa",
    "TZ": "United Republic of Tanzania; Zanzibar",
    "UM": "US Minor Outlying Islands",
    "US": "USA; United States of America; America; The States",
    "VA": "Vatican; Holy See; Vatican City State; Holy See (Vatican City State)",
    "VC": "Saint Vincent",
    "VE": "Venezuela, RB; Bolivarian Republic of Venezuela; Venezuela (Bolivarian Republic of)",
    "VG": "Virgin Islands (British); UK Virgin Islands",
    "VI": "US Virgin Islands; Virgin Islands (U.S.); Virgin Islands; American Virgin Islands",
    "VN": "Viet Nam; Socialist Republic of Vietnam",
    "WF": "Wallis and Futuna Islands",
    "WS": "Western Samoa",
    "XK": "Republic of Kosovo; Kosova",
    "ZW": "Rhodesia",
}

# Official names, as the UN has them, by what stands before or after the name: `*` is the name in `NAMES` or above.
OFFICIAL = {
    "Republic of *": "AL AM AO AZ BJ BW BY BI BG CM TD CL CO CR HR CY DJ EC SV GQ EE FI GA GM GH GT GN GW HT HN IN "
    "ID IQ IE KZ KE KI KR LV LB LR LT MG MW ML MT MH MU MD MZ MM NA NR NI NE MK PW PA PY PE PH PL PT RS RW SM SN SC SL "
    "SG SI ZA SS SR TJ TT TN TR UG UZ VU YE ZM ZW IS BZ SD UA GE HU MV BA AT CU FJ GY",
    "Kingdom of *": "BE BH BT KH DK SZ LS MA NL NO SA ES SE TH TO",
    "Islamic Republic of *": "AF IR MR PK",
    "State of *": "ER IL KW LY PS QA",
    "Commonwealth of *": "AU BS DM",
    "Democratic Republic of *": "ST TL",
    "Democratic Socialist Republic of *": "LK",
    "Democratic People's Republic of *": "KP",
    "People's Republic of *": "CN BD",
    "People's Democratic Republic of *": "DZ",
    "Socialist Republic of *": "VN",
    "Federal Republic of *": "DE NG SO",
    "Federal Democratic Republic of *": "ET NP",
    "Federative Republic of *": "BR",
    "Oriental Republic of *": "UY",
    "Co-operative Republic of *": "GY",
    "Arab Republic of *": "EG",
    "Union of *": "MM",
    "Republic of the Union of *": "MM",
    "Union of the *": "KM",
    "Independent State of *": "PG WS",
    "Principality of *": "AD LI MC",
    "Grand Duchy of *": "LU",
    "Sultanate of *": "OM",
    "Nation of *": "BN",
    "Hashemite Kingdom of *": "JO",
    "*, Federal Rep.": "SO",
}
ADJECTIVES = {
    "AR": "Argentine Republic",
    "CH": "Swiss Confederation",
    "DZ": "Algerian Republic",
    "FR": "French Republic",
    "GB": "United Kingdom of Great Britain",
    "IT": "Italian Republic",
    "LB": "Lebanese Republic",
    "MX": "United Mexican States",
    "PT": "Portuguese Republic",
    "TG": "Togolese Republic",
    "TN": "Tunisian Republic",
    "GA": "Gabonese Republic",
    "UZ": "Uzbekiston",
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
    name = NAMES.get(code, p["nameEn"])
    spelled += [alias for alias in ALIASES.get(code, "").split("; ") if alias]
    spelled += [form.replace("*", name) for form, codes in OFFICIAL.items() if code in codes.split()]
    spelled += [ADJECTIVES[code]] if code in ADJECTIVES else []
    return list(dict.fromkeys(alias for alias in [*spelled, *own_names(code)] if alias != name))


def own_names(code: str) -> list[str]:
    """Name a country in its official languages."""
    names = []
    for language in sorted(get_official_languages(code, de_facto=True)):
        try:
            names.append(Locale.parse(language).territories.get(code))
        except UnknownLocaleError:  # a language that CLDR has no names in
            continue
    return [name for name in names if name]


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
