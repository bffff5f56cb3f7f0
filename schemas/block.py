"""Blocks as columns: one row an account, channel and usage day.

`FIELDS` is what the parser gives and the renderer takes; `LAKE` is what a lake file holds. Energy is in
whole watt-hours (kWh to three decimals, exactly). `status` has one letter an interval, `A` or `E`.
"""

import pyarrow as pa

_WORD = pa.dictionary(pa.int32(), pa.string())

# The fields of row 00000002 that may be empty, in the file's order (fields 2-7 and 10-14), as sent.
METER_FIELDS = (
    "start_reading",
    "stop_reading",
    "meter_multiplier",
    "meter_offset",
    "pulse_multiplier",
    "pulse_offset",
    "basic_unit",
    "zone_half_hours",
    "population",
    "weight",
    "zone_name",
)

FIELDS = pa.schema(
    [
        pa.field("account", pa.string(), nullable=False),
        pa.field("channel", _WORD, nullable=False),
        pa.field("usage_date", pa.date32(), nullable=False),
        pa.field("interval_seconds", pa.int32(), nullable=False),
        pa.field("stamp", _WORD, nullable=False),  # 14 digits, the EDC's local time
        pa.field("origin", _WORD, nullable=False),
        *(pa.field(name, _WORD, nullable=False) for name in METER_FIELDS),
        pa.field("text", pa.string(), nullable=False),  # row 00000003; may name a customer
        pa.field("wh", pa.list_(pa.field("item", pa.int32(), nullable=False)), nullable=False),
        pa.field("status", pa.string(), nullable=False),
        pa.field("wh_total", pa.int64(), nullable=False),
        pa.field("estimated", pa.int32(), nullable=False),  # intervals whose status is E
        pa.field("line", pa.int32(), nullable=False),  # of the block's row 00000001 in its file
    ]
)

# What two cuts of the same account, channel and day must agree in to be the same content.
CONTENT = tuple(
    name for name in FIELDS.names if name not in ("account", "channel", "usage_date", "stamp", "line")
)

_INSTANT = pa.timestamp("us", tz="UTC")
COMMITTED = pa.schema(
    [
        pa.field("edc", _WORD, nullable=False),
        pa.field("version", pa.int32(), nullable=False),
        pa.field("received_at", _INSTANT, nullable=False),
        pa.field("loaded_at", _INSTANT, nullable=False),
        pa.field("drop_id", _WORD, nullable=False),
        pa.field("on_time", pa.bool_(), nullable=False),  # arrived by its usage day's deadline
        # A later stamp stood when it was committed, so it never was current. Of a stack, current is the
        # highest version that was not outranked: what is affirmed later can only be what is current.
        pa.field("outranked", pa.bool_(), nullable=False),
    ]
)

# A lake file holds one usage day, which its Hive partition names; so the column is left out.
LAKE = pa.schema([field for field in (*FIELDS, *COMMITTED) if field.name != "usage_date"])
