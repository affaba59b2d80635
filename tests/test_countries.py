import csv
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from whichland.errors import UserError
from whichland.geo.countries import ALSO_WORDS, COUNTRIES, country_name, find_country, nearest_names

SHARED = Path(__file__).parent.parent.parent / "shared/data"
CODES = sorted(COUNTRIES)

SPELLINGS = {
    "AX": ["Aland", "Åland", "Åland Islands"],
    "BA": ["Bosnia", "Bosnia And Herzegovina", "Bosnia & Herzegovina", "BosniaAndHerzegovina"],
    "BO": ["Bolivia, Plurinational State of", "Bolivia (Plurinational State of)"],
    "BS": ["The Bahamas", "Bahamas, The", "bahamas"],
    "CD": ["DRC", "DR Congo", "Congo-Kinshasa", "Congo (Kinshasa)", "Congo, The Democratic Republic of the"],
    "CG": ["Congo", "Congo-Brazzaville", "Republic of the Congo"],
    "CI": ["Ivory Coast", "Cote d'Ivoire", "Côte d’Ivoire", "cote_divoire"],
    "CV": ["Cape Verde", "Cabo Verde"],
    "CW": ["Curacao", "Curaçao"],
    "CZ": ["Czech Republic", "Czechia", "CZE"],
    "FK": ["Falkland Islands (Islas Malvinas)"],
    "FO": ["Faroe Islands", "Faeroe Islands"],
    "GB": ["UK", "U.K.", "Great Britain", "England", "Scotland", "United_Kingdom"],
    "GE": ["Georgia"],
    "GR": ["EL", "Greece"],
    "HK": ["Hong Kong", "Hong Kong SAR"],
    "IM": ["Isle of Man", "isle_of_man"],
    "IR": ["Iran, Islamic Republic of"],
    "JE": ["Jersey"],
    "KP": ["North Korea", "Korea, Democratic People's Republic of"],
    "KR": ["South Korea", "SouthKorea", "Korea, Republic of", "south-korea"],
    "LA": ["Laos", "Lao People's Democratic Republic"],
    "LC": ["St. Lucia", "Saint Lucia"],
    "MD": ["Moldova, Republic of"],
    "MK": ["Macedonia", "North Macedonia", "Macedonia, the former Yugoslav Republic of"],
    "MM": ["Burma", "Myanmar (Burma)"],
    "MO": ["Macau", "Macao"],
    "NA": ["NA", "na", "Namibia", "NAM"],
    "NL": ["Holland", "The Netherlands"],
    "NO": ["no", "Norway"],
    "PS": ["Palestine", "West Bank", "Palestine, State of"],
    "RE": ["Reunion", "Réunion", "La Réunion"],
    "RU": ["Russia", "Russian Federation"],
    "SZ": ["Swaziland", "Eswatini", "eSwatini"],
    "TL": ["East Timor", "Timor-Leste"],
    "TR": ["Turkey", "Türkiye", "Turkiye"],
    "TW": ["Taiwan", "Republic of China", "Taiwan, Province of China"],
    "TZ": ["Tanzania, United Republic of"],
    "US": ["USA", "U.S.A.", "U.S.", "United States", "United States of America", "united_states", "America"],
    "VA": ["Vatican", "Vatican City", "Holy See"],
    "VI": ["US Virgin Islands", "Virgin Islands, U.S.", "U.S. Virgin Islands"],
    "VG": ["British Virgin Islands", "Virgin Islands, British"],
    "VN": ["Vietnam", "Viet Nam"],
    "XK": ["Kosovo"],
}

# Folders of the Kaggle data set of GeoGuessr screenshots beside those of the countries' plain names.
KAGGLE = (
    "Aland|American Samoa|Antarctica|Curacao|Czechia|Dominican Republic|Eswatini|Faroe Islands|Isle of Man|Macao|"
    "Martinique|North Macedonia|Northern Mariana Islands|Palestine|Pitcairn Islands|Puerto Rico|Reunion|"
    "South Georgia and South Sandwich Islands|South Korea|Svalbard and Jan Mayen|US Virgin Islands|"
    "United Arab Emirates|United Kingdom|United States|Vietnam"
)


def test_all_of_iso_3166_and_kosovo_are_there() -> None:
    assert len(COUNTRIES) == 250
    assert len({country.alpha3 for country in COUNTRIES.values()}) == 250
    assert all(len(code) == 2 and country.code == code for code, country in COUNTRIES.items())
    assert {"NA", "XK", "AQ", "TW"} <= set(COUNTRIES)
    assert not {"FX", "IC", "EU", "UN"} & set(COUNTRIES)


@pytest.mark.parametrize("code", SPELLINGS)
def test_usual_spellings(code: str) -> None:
    assert {text: find_country(text) for text in SPELLINGS[code]} == dict.fromkeys(SPELLINGS[code], code)


def test_every_name_and_alias_leads_to_its_own_country() -> None:
    for country in COUNTRIES.values():
        for text in (country.code, country.name, *country.aliases):
            assert find_country(text) == country.code, text
        assert find_country(country.alpha3, among_codes=True) == country.code
        assert find_country(country.alpha3) == (None if country.alpha3 in ALSO_WORDS else country.code)


def test_namibia_is_never_missing() -> None:
    assert COUNTRIES["NA"].name == country_name("NA") == "Namibia"
    assert COUNTRIES["NA"].region == "Southern Africa"


@given(code=st.sampled_from(CODES), data=st.data())
def test_names_survive_noise(code: str, data: st.DataObject) -> None:
    country = COUNTRIES[code]
    text = data.draw(st.sampled_from([country.name, *(a for a in country.aliases if len(a) > 3)]))
    text = data.draw(st.sampled_from([str.upper, str.lower, str.title, str]))(text)
    text = text.replace(" ", data.draw(st.sampled_from([" ", "_", "-", "  "])))
    marks = data.draw(st.lists(st.sampled_from(["\u0301", "\u0308"]), max_size=2))
    assert find_country(" " + text + "".join(marks) + "\n") == code


@given(st.text(max_size=30))
def test_any_text_has_an_answer(text: str) -> None:
    found = find_country(text)
    assert found is None or found in COUNTRIES
    assert len(nearest_names(text)) <= 3


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "Germny", "train", "images", "Atlantis", "FX1", "ZZ", "the", "___"),
        # what stands where nothing is known, and other words that have the letters of a code
        *("N/A", "n/a", "N.A.", "#N/A", "A-Z", "P.S.", "a/c", "I.D.", "T-V", "No", "It", "Me", "and", "car", "CAR"),
        *("DJI", "PAN", "MAR", "CAN", "can", "png", "IoT", "EU", "U.N.", "S.A.", "e.g.", "St.", "N.", "usb", "el"),
        *(
            "England, UK",
            "Korea, North, South",
            "Georgia (US)",
            "Paris (France)",
            "Ireland/Scotland",
            "S. Georgia Is. x",
        ),
    ],
)
def test_what_is_no_country(text: str) -> None:
    assert find_country(text) is None


# As the lists of others have them: World Bank, Natural Earth's NAME, UN, FIFA, two names of one country, own languages.
ELSEWHERE = {
    "World Bank": "KR Korea, Rep.; KP Korea, Dem. People's Rep.; EG Egypt, Arab Rep.; YE Yemen, Rep.; "
    "VE Venezuela, RB; FM Micronesia, Fed. Sts.; CD Congo, Dem. Rep.; SK Slovak Republic; SO Somalia, Fed. Rep.; "
    "PR Puerto Rico (US); MF St. Martin (French part); SX Sint Maarten (Dutch part); "
    "VI Virgin Islands (U.S.); HK Hong Kong SAR, China",
    "Natural Earth": "CF Central African Rep.; GQ Eq. Guinea; EH W. Sahara; SS S. Sudan; BA Bosnia and Herz.; "
    "TF Fr. S. Antarctic Lands; PF Fr. Polynesia; MP N. Mariana Is.; VI U.S. Virgin Is.; "
    "AG Antigua and Barb.; VC St. Vin. and Gren.; TC Turks and Caicos Is.; PM St. Pierre and Miquelon; "
    "WF Wallis and Futuna Is.; GS S. Geo. and the Is.; IO Br. Indian Ocean Ter.; "
    "HM Heard I. and McDonald Is.; KP N. Korea; MH Marshall Is.",
    "UN": "BO Bolivia (Plurinational State of); VE Venezuela (Bolivarian Republic of); "
    "NL Netherlands (Kingdom of the); HK China, Hong Kong SAR; CH Swiss Confederation; "
    "MX United Mexican States; AU Commonwealth of Australia; LK Democratic Socialist Republic of Sri Lanka; "
    "JO Hashemite Kingdom of Jordan; ZA Republic of South Africa",
    "FIFA": "KR Korea Republic; KP Korea DPR; CN China PR; CD Congo DR; IR IR Iran; HK Hong Kong, China; "
    "NZ Aotearoa New Zealand; IE Republic of Ireland; TW Chinese Taipei; CV Cape Verde Islands; "
    "KG Kyrgyz Republic",
    "two": "TR Turkey (Türkiye); MK Macedonia (FYROM); CD Congo (DRC); CG Congo (Congo-Brazzaville); "
    "US United States (USA); CI Ivory Coast / Côte d'Ivoire; GL Greenland (Denmark); RE Réunion (France); "
    "BM Bermuda (UK); SZ Eswatini (Swaziland)",
    "own": "DE Deutschland; JP 日本; KR 대한민국; GR Ελλάδα; TH ประเทศไทย; "
    "GE საქართველო; AM Հայաստան; IN भारत; EG مصر; IL ישראל; "
    "ET ኢትዮጵያ; CH Suisse; BE Belgien; FI Suomi; HU Magyarország; "
    "KH កម្ពុជា; MV ދިވެހި ރާއްޖެ; NZ Aotearoa; UZ Oʻzbekiston",
}


@pytest.mark.parametrize("publisher", ELSEWHERE)
def test_spellings_of_others(publisher: str) -> None:
    wanted = dict(reversed(entry.strip().split(" ", 1)) for entry in ELSEWHERE[publisher].split(";"))
    assert {name: find_country(name) for name in wanted} == wanted


def test_nearest_names() -> None:
    assert nearest_names("Germny")[0] == "Germany"
    assert nearest_names("Untied States")[0] == "United States"
    assert nearest_names("new zeeland")[0] == "New Zealand"
    assert nearest_names("qqqqqq") == []


def test_driving_sides_and_regions() -> None:
    left = {code for code in CODES if COUNTRIES[code].drives_on == "left"}
    assert {"GB", "IE", "AU", "NZ", "JP", "IN", "ZA", "NA", "TH", "ID", "MY", "HK", "MT", "CY"} <= left
    assert not {"US", "DE", "FR", "BR", "CN", "RU", "PH", "KR", "TW", "PS", "IO", "GI"} & left
    assert COUNTRIES["FR"].region == "Western Europe"
    assert COUNTRIES["MX"].continent == COUNTRIES["JM"].continent == "North America"
    assert COUNTRIES["CL"].continent == "South America"
    assert all(country.region and country.continent for country in COUNTRIES.values())


def test_names_that_data_sets_use() -> None:
    assert [name for name in KAGGLE.split("|") if find_country(name) is None] == []
    if not SHARED.is_dir():
        pytest.skip("the rest needs ../shared/data")
    names = [path.name for path in (SHARED / "compressed_dataset").iterdir()]
    with (SHARED / "points/mapillary_points.csv").open() as file:
        names += [row["country_name"] for row in csv.DictReader(file)]
    assert [name for name in set(names) if find_country(name) is None] == []
    with (SHARED / "points/streetview_points.csv").open() as file:
        codes = {row["country"] for row in csv.DictReader(file)}
    shards = (SHARED / "pano_parquet/data").glob("*.parquet")
    for shard in shards:
        codes |= set(pl.read_parquet(shard, columns=["country_iso_alpha2"]).to_series())
    assert {code: find_country(code) for code in codes} == {code: code for code in codes}


def test_no_country_is_named_for_a_code_that_is_none() -> None:
    with pytest.raises(UserError, match="'XX' is no country"):
        country_name("XX")
