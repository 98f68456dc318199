"""The places of the Atlas: real cities, and what is usual in them.

Names, ids, regions and positions are GeoNames' (CC BY 4.0), as `worker.place.gazetteer` gives them; a test holds
the two together. They stand here as well so that another edition of the gazetteer does not change the pictures
that a model was trained on. What is usual is invented: it leans on what players of guessing games know (Japan
drives on the left, American centre lines are yellow) and departs from it where this world needs it.

Neighbours share most of their country's cues: Sweden and Norway, the United States and Canada, Argentina and
Chile, Australia and New Zealand, the United Kingdom and Ireland. Some values occur in one country only.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from atlas.cues import KINDS, Level

TABLE = """\
GB United Kingdom: left white_dashed/white_solid plain yellow/white black_band red_gable/black_slate \
brick/white_plaster latin triangle_white black sun_south
  England: broadleaf green_grass flat/hills
    London: 2643743 51.50853 -0.12574 clock_tower
  Wales: broadleaf green_grass hills/sea
    Cardiff: 2653822 51.48 -3.18 church_one_spire
  Scotland: broadleaf/conifer green_grass/grey_gravel hills/sea
    Edinburgh: 2650225 55.95206 -3.19648 castle_keep
IE Ireland: left yellow_dashed/white_dashed plain white/blue_band black_band black_slate/thatched pastel/brick \
latin diamond_yellow black/white sun_south
  Leinster: broadleaf green_grass sea/flat
    Dublin: 2964574 53.33306 -6.24889 needle_tower
  Munster: broadleaf/birch green_grass hills
    Cork: 2965140 51.89797 -8.47061 leaning_tower
  Connacht: birch/broadleaf green_grass/grey_gravel hills/sea
    Galway: 2964180 53.27245 -9.05095 stone_arch_bridge
FR France: right white_dashed plain blue_band/white red_band grey_mansard/red_gable ochre/white_plaster latin \
triangle_white white/black sun_south
  Île-de-France: broadleaf green_grass/grey_gravel flat
    Paris: 2988507 48.85341 2.3488 lattice_tower
  Provence-Alpes-Côte d'Azur: cypress/palm dry_grass/grey_gravel sea/hills
    Marseille: 2995469 43.29695 5.38107 aqueduct
    Nice: 2990440 43.70313 7.26608 dome
  Auvergne-Rhône-Alpes: broadleaf/cypress green_grass/grey_gravel hills/flat
    Lyon: 2996944 45.74906 4.84789 stone_arch_bridge unseen
DE Germany: right white_dashed plain blue_band/white black_band/white_slim red_gable/grey_mansard \
white_plaster/brick latin triangle_white yellow/white sun_south
  Hamburg: birch/broadleaf green_grass flat/sea
    Hamburg: 2911298 53.55073 9.99302 church_one_spire
  Bavaria: conifer/broadleaf green_grass snowy_peaks/hills
    Munich: 2867714 48.13743 11.57549 onion_domes
    Nuremberg: 2861650 49.45421 11.07752 castle_keep
  Saxony: broadleaf green_grass/dry_grass flat
    Leipzig: 2879139 51.33962 12.37129 obelisk unseen
ES Spain: right white_dashed/white_solid red_white/plain blue_band/white yellow_top flat_white/red_gable \
ochre/white_plaster latin triangle_white/triangle_yellow white/black sun_south
  Madrid: broadleaf/conifer dry_grass/red_earth hills/snowy_peaks
    Madrid: 3117735 40.4165 -3.70256 arch
  Andalusia: palm/cypress dry_grass/sand flat/hills
    Sevilla: 2510911 37.38283 -5.97317 colonnade_temple
  Catalonia: palm/cypress sand/dry_grass sea/hills
    Barcelona: 3128760 41.38879 2.15899 lighthouse
GR Greece: right white_solid plain/yellow_black blue_band/white red_band flat_white white_plaster greek \
triangle_yellow yellow/blue sun_south
  Attica: cypress dry_grass/grey_gravel hills
    Athens: 264371 37.98376 23.72784 colonnade_temple
  Central Macedonia: broadleaf/cypress dry_grass sea
    Thessaloníki: 734077 40.64072 22.93493 castle_keep
  West Greece: cypress/palm sand/dry_grass sea/hills
    Pátra: 255683 38.2462 21.73508 cable_stayed_bridge
SE Sweden: right white_dashed/white_solid plain white/yellow white_slim red_gable red_wood/brick latin \
triangle_yellow yellow/black sun_south
  Stockholm: conifer/birch grey_gravel/snow sea
    Stockholm: 2673730 59.32938 18.06871 clock_tower
  Västra Götaland: birch/conifer green_grass/grey_gravel hills
    Gothenburg: 2711537 57.70716 11.96679 ferris_wheel
  Skåne: broadleaf/birch green_grass flat/sea
    Malmö: 2692969 55.60587 13.00073 windmill
NO Norway: right yellow_dashed/white_dashed plain white/green white_slim/yellow_top black_slate/red_gable \
red_wood/white_plaster latin triangle_white white/black sun_south
  Oslo: conifer/birch snow/green_grass hills
    Oslo: 3143244 59.91273 10.74609 opera_shells
  Vestland: birch/conifer grey_gravel/green_grass snowy_peaks/sea
    Bergen: 3161732 60.39299 5.32415 cathedral_two_spires
  Rogaland: birch green_grass/grey_gravel sea/snowy_peaks
    Stavanger: 3137115 58.97005 5.73332 suspension_bridge
PL Poland: right white_dashed plain/black_white blue_band/white red_band/striped red_gable pastel/concrete \
latin triangle_yellow white/yellow sun_south
  Mazovia: broadleaf/birch green_grass flat
    Warsaw: 756135 52.22977 21.01178 needle_tower
  Lesser Poland: conifer/broadleaf green_grass/snow hills/snowy_peaks
    Kraków: 3094802 50.06143 19.93658 city_wall_gate
  Pomerania: birch/conifer sand/green_grass sea
    Gdańsk: 3099434 54.35227 18.64912 lighthouse
RU Russia: right white_solid/white_dashed black_white/plain white/yellow striped/black_band \
grey_mansard/red_gable concrete/pastel cyrillic triangle_white yellow/white sun_south
  Moscow: birch snow/green_grass flat
    Moscow: 524901 55.75204 37.61781 onion_domes
  St.-Petersburg: birch/conifer snow/grey_gravel sea/flat
    Saint Petersburg: 498817 59.93863 30.31413 dome
  Tatarstan Republic: broadleaf/birch dry_grass/snow flat/hills
    Kazan: 551487 55.78874 49.12214 minaret_pair
  Primorye: conifer/broadleaf grey_gravel/snow hills/sea
    Vladivostok: 2013348 43.10562 131.87353 cable_stayed_bridge unseen
TR Turkey: right white_dashed yellow_black/plain blue_band/white striped/red_band red_gable/flat_white \
concrete/pastel latin triangle_white yellow sun_south
  Istanbul: cypress/broadleaf green_grass/grey_gravel sea
    Istanbul: 745044 41.01384 28.94966 minaret_pair
  Ankara: conifer/broadleaf dry_grass hills/mesa
    Ankara: 323786 39.91987 32.85427 stone_arch_bridge
  Antalya: palm/cypress grey_gravel/sand snowy_peaks/sea
    Antalya: 323777 36.90812 30.69556 city_wall_gate
IL Israel: right white_dashed/white_solid red_white/plain yellow striped/yellow_top flat_white/red_gable \
ochre/white_plaster hebrew/arabic triangle_white white/yellow sun_south
  Tel Aviv: palm sand sea
    Tel Aviv: 293397 32.08088 34.78057 twin_towers
  Jerusalem: cypress grey_gravel/dry_grass hills
    Jerusalem: 281184 31.76904 35.21633 dome
  Haifa: conifer/cypress green_grass/dry_grass hills/sea
    Haifa: 294801 32.81303 34.99928 stepped_temple
EG Egypt: right white_dashed black_white/red_white blue_band/white striped flat_white brick/ochre arabic \
triangle_white white/black sun_south
  Cairo: palm sand flat/mesa
    Cairo: 360630 30.06263 31.24967 pyramid
  Alexandria: palm/cypress sand/grey_gravel sea
    Alexandria: 361058 31.20176 29.91582 lighthouse
  Luxor: palm/cactus red_earth/sand mesa
    Luxor: 360502 25.69893 32.6421 obelisk
KE Kenya: left yellow_dashed/white_dashed black_white/plain yellow/white red_band/yellow_top thatched/red_gable \
concrete/pastel latin triangle_white yellow/white sun_south=0.55/sun_north
  Nairobi County: broadleaf/baobab red_earth hills/mesa
    Nairobi: 184745 -1.28333 36.81667 sail_tower
  Mombasa County: palm/baobab sand/red_earth sea
    Mombasa: 186301 -4.05466 39.66359 arch
  Kisumu County: baobab red_earth/dry_grass flat/volcano
    Kisumu: 191245 -0.10221 34.76171 minaret_pair
ZA South Africa: left white_solid/yellow_dashed plain/red_white white/yellow yellow_top thatched/red_gable \
brick/white_plaster latin triangle_white white/yellow sun_north
  Western Cape: conifer/eucalyptus dry_grass/sand mesa/sea
    Cape Town: 3369157 -33.92584 18.42322 table_mountain_cable
  Gauteng: baobab/eucalyptus red_earth/dry_grass flat/hills
    Johannesburg: 993800 -26.20227 28.04363 needle_tower
    Pretoria: 964137 -25.74486 28.18783 colonnade_temple
IN India: left white_dashed/yellow_dashed yellow_black/black_white white/yellow striped/black_band \
flat_white/red_gable pastel/concrete devanagari/latin triangle_white black/yellow sun_south
  Maharashtra: palm/broadleaf red_earth/dry_grass sea/hills
    Mumbai: 1275339 19.07283 72.88261 arch
  West Bengal: palm/broadleaf green_grass/red_earth flat
    Kolkata: 1275004 22.56263 88.36304 stupa
  Delhi: broadleaf dry_grass/grey_gravel flat
    Delhi: 1273294 28.65195 77.23149 dome
  Rajasthan: cactus/broadleaf sand/dry_grass hills/mesa
    Jaipur: 1269515 26.91962 75.78781 city_wall_gate unseen
TH Thailand: left yellow_dashed/white_dashed red_white/black_white white/red black_band/striped \
blue_tile/red_gable concrete/pastel thai diamond_yellow green/yellow sun_south
  Bangkok: palm/broadleaf grey_gravel/green_grass flat
    Bangkok: 1609350 13.75398 100.50144 stupa
  Chiang Mai: broadleaf/conifer green_grass/red_earth hills
    Chiang Mai: 1153671 18.79038 98.98468 pagoda
  Phuket: palm sand/green_grass sea
    Phuket: 1151254 7.89059 98.3981 stepped_temple
CN China: right yellow_double/yellow_dashed yellow_black/plain green/blue_band red_band/yellow_top \
black_slate/flat_white concrete/brick han triangle_yellow green/blue sun_south
  Beijing: conifer/broadleaf grey_gravel/dry_grass hills/flat
    Beijing: 1816670 39.9075 116.39723 pagoda
  Guangdong: palm/broadleaf green_grass hills/sea
    Guangzhou: 1809858 23.11667 113.25 lattice_tower
  Shanghai: broadleaf/conifer grey_gravel/green_grass flat/sea
    Shanghai: 1796236 31.22222 121.45806 ferris_wheel
JP Japan: left white_dashed/white_solid plain white/yellow white_slim/striped blue_tile/black_slate \
concrete/white_plaster kana/han diamond_yellow black/green sun_south
  Tokyo: broadleaf/conifer grey_gravel/green_grass volcano/flat
    Tokyo: 1850147 35.6895 139.69171 lattice_tower
  Hokkaido: birch/conifer snow/green_grass hills/sea
    Sapporo: 2128295 43.06667 141.35 clock_tower
    Hakodate: 2130188 41.77583 140.73667 torii_gate
  Hiroshima: conifer/broadleaf green_grass/grey_gravel sea/hills
    Hiroshima: 1862415 34.4 132.45 dome unseen
KR South Korea: right yellow_double/yellow_dashed plain/yellow_black white/green yellow_top/red_band \
blue_tile/flat_white concrete/brick hangul triangle_yellow white/black sun_south
  Seoul: conifer/broadleaf grey_gravel/snow hills
    Seoul: 1835848 37.566 126.9784 city_wall_gate
  Busan: broadleaf/conifer sand/grey_gravel sea/hills
    Busan: 1838524 35.10168 129.03004 suspension_bridge
  Gyeongsangbuk-do: conifer green_grass hills/flat
    Gyeongju: 1841603 35.84278 129.21167 pagoda
US United States: right yellow_double/yellow_dashed plain/yellow_black white/black white_slim/yellow_top \
red_gable/black_slate red_wood/brick latin diamond_yellow yellow/white sun_south
  New York: broadleaf grey_gravel/green_grass flat/sea
    New York City: 5128581 40.71427 -74.00597 statue_raised_arm
  California: palm/cactus dry_grass/sand hills/sea
    San Francisco: 5391959 37.77493 -122.41942 suspension_bridge
    Los Angeles: 5368361 34.05223 -118.24368 opera_shells
  Florida: palm sand/green_grass sea/flat
    Miami: 4164138 25.77427 -80.19366 lighthouse unseen
CA Canada: right yellow_double/yellow_dashed plain white/red yellow_top/white_slim black_slate/red_gable \
red_wood/brick latin diamond_yellow blue/green sun_south
  Ontario: broadleaf/birch green_grass/snow flat
    Toronto: 6167865 43.70643 -79.39864 needle_tower
  Quebec: broadleaf/birch snow/green_grass hills/flat
    Montréal: 6077243 45.50884 -73.58781 clock_tower
  British Columbia: conifer green_grass/grey_gravel snowy_peaks/sea
    Vancouver: 6173331 49.24966 -123.11934 suspension_bridge
MX Mexico: right yellow_double/white_dashed yellow_black/plain white/green striped/yellow_top \
flat_white/red_gable pastel/ochre latin diamond_yellow red/white sun_south
  Mexico City: cactus/broadleaf dry_grass volcano/hills
    Mexico City: 3530597 19.42847 -99.12766 pyramid
  Jalisco: palm/cactus sand/red_earth hills/sea
    Guadalajara: 4005539 20.67738 -103.34749 cathedral_two_spires
    Puerto Vallarta: 3991328 20.617 -105.23018 arch
BR Brazil: right yellow_dashed/yellow_double plain/yellow_black white/red yellow_top/red_band \
red_gable/flat_white pastel/white_plaster latin diamond_yellow white/yellow sun_north
  Rio de Janeiro: palm sand/green_grass hills/sea
    Rio de Janeiro: 3451190 -22.90642 -43.18223 cross_on_hill
  São Paulo: broadleaf/eucalyptus red_earth/green_grass flat/hills
    São Paulo: 3448439 -23.5475 -46.63611 cable_stayed_bridge
    Campinas: 3467865 -22.90556 -47.06083 twin_towers
  Bahia: palm/baobab red_earth/sand sea
    Salvador: 3450554 -12.97563 -38.49096 lighthouse unseen
AR Argentina: right white_dashed/yellow_double yellow_black/plain black/white red_band/striped \
flat_white/red_gable white_plaster/brick latin diamond_yellow black/yellow sun_north
  Buenos Aires F.D.: broadleaf/palm green_grass flat
    Buenos Aires: 3435910 -34.61315 -58.37723 obelisk
  Cordoba: broadleaf/eucalyptus dry_grass/green_grass hills/flat
    Córdoba: 3860259 -31.40648 -64.18853 windmill
  Mendoza: cypress/cactus grey_gravel/red_earth snowy_peaks
    Mendoza: 3844421 -32.88946 -68.84582 leaning_tower
CL Chile: right white_dashed yellow_black/plain white/yellow red_band red_gable/flat_white pastel/red_wood \
latin diamond_yellow black/yellow sun_north
  Santiago Metropolitan: eucalyptus/cypress dry_grass/grey_gravel snowy_peaks
    Santiago: 3871336 -33.45694 -70.64827 cross_on_hill
  Valparaíso: eucalyptus/palm dry_grass/sand sea/hills
    Valparaíso: 3868626 -33.036 -71.62963 statue_raised_arm
  Region of Magallanes: conifer/birch grey_gravel/snow sea/snowy_peaks
    Punta Arenas: 3874787 -53.16282 -70.90922 lighthouse
AU Australia: left white_dashed/white_solid plain yellow/white red_band red_gable/grey_mansard brick/red_wood \
latin diamond_yellow white/yellow sun_north
  New South Wales: eucalyptus green_grass/dry_grass sea/hills
    Sydney: 2147714 -33.86785 151.20732 opera_shells
  Victoria: eucalyptus/broadleaf dry_grass/green_grass flat/sea
    Melbourne: 2158177 -37.814 144.96332 lighthouse
  Western Australia: eucalyptus red_earth/sand flat/sea
    Perth: 2063523 -31.95224 115.8614 sail_tower
  Queensland: palm/eucalyptus green_grass/dry_grass hills/flat
    Brisbane: 2174003 -27.46794 153.02809 ferris_wheel unseen
NZ New Zealand: left white_dashed plain white/black red_band/white_slim grey_mansard/red_gable \
red_wood/white_plaster latin diamond_yellow white/blue sun_north
  Auckland: broadleaf/palm green_grass volcano/sea
    Auckland: 2193733 -36.84853 174.76349 needle_tower
  Wellington Region: broadleaf/conifer green_grass hills/sea
    Wellington: 2179537 -41.28664 174.77557 church_one_spire
  Otago: conifer/broadleaf dry_grass/green_grass snowy_peaks/hills
    Queenstown: 6204696 -45.03023 168.66271 table_mountain_cable
"""
"""One line for each country, then, indented, each of its regions and their cities.

A country and a region name their usual cues, in the order of `atlas.cues.KINDS`: "main", "main/alternative", or
"main=0.55/alternative" where the share is not the usual one. A city has its id, latitude, longitude and landmark,
and the word "unseen" where models in training never see it.
"""


@dataclass(frozen=True, slots=True)
class Town:
    """One city with what its country, its region and it itself usually show: kind to the words of `TABLE`."""

    geoname_id: int
    name: str
    region: str
    country_code: str
    country: str
    lat: float
    lon: float
    usual: Mapping[str, str]
    unseen: bool


@cache
def towns() -> tuple[Town, ...]:
    """The cities in the order of `TABLE`. Raises `ValueError` for a line with too few or too many words."""
    found: list[Town] = []
    code = country = region = ""
    of_country: dict[str, str] = {}
    of_region: dict[str, str] = {}
    for line in TABLE.splitlines():
        name, _, words = line.strip().partition(": ")
        match len(line) - len(line.lstrip(" ")):
            case 0:
                code, _, country = name.partition(" ")
                of_country = _usual("country", words)
            case 2:
                region, of_region = name, _usual("region", words)
            case _:
                geoname_id, lat, lon, landmark, *marks = words.split()
                usual = of_country | of_region | _usual("city", landmark)
                place = (int(geoname_id), name, region, code, country, float(lat), float(lon))
                found.append(Town(*place, usual, marks == ["unseen"]))
    return tuple(found)


def _usual(level: Level, words: str) -> dict[str, str]:
    kinds = [kind.name for kind in KINDS if kind.level == level]
    return dict(zip(kinds, words.split(), strict=True))
