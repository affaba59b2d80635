"""Photos and their coordinates from Mapillary's Graph API v4, in a way that can be killed and resumed.

    MAPILLARY_TOKEN=… whichland data fetch mapillary:country=NO,SE,quota=500 -o nordic.parquet

`places` says where to look, `search` and `journal` what was found and is still to do, `client` talks HTTP, `records`
reads and verifies what came, `harvest` drives them. The format: https://www.mapillary.com/developer/api-documentation
"""
