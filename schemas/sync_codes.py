"""What can be wrong with a meter data sync: one code each.

Source: formats.md, section 2.
"""

from collections.abc import Mapping

from schemas.fault_codes import Code, Scope

# A part of a meter data sync (formats.md, section 2). Any of these refuses the sync as a whole.
OF_SYNCS: Mapping[str, Code] = {
    "sync-too-large": Code(
        scope=Scope.FILE,
        says="the part of the sync is too large",
        found="61,002 lines, 5,185,170 bytes",
        wanted="parts of at most 50,000 rows and 100,000,000 bytes",
    ),
    "sync-header": Code(
        scope=Scope.FILE,
        says="the HDR record is not as agreed",
        found="HDR,DAILYSUMMARY,1,957877905,20130903",
        wanted="HDR,METERDATASYNC,1,<DUNS>,<as-of date>,<part>,<parts>",
    ),
    "sync-sender": Code(
        scope=Scope.FILE,
        says="the sync is not the sender's own",
        found="007909427AC",
        wanted="the sender's DUNS 957877905",
    ),
    "sync-as-of": Code(
        scope=Scope.FILE,
        says="the sync cannot be as of that date",
        found="20130931",
        wanted="ccyymmdd, a date that exists",
    ),
    "sync-part": Code(
        scope=Scope.FILE,
        says="the part has no place among the parts",
        found="3",
        wanted="the number of parts, none above it",
    ),
    "sync-trailer": Code(
        scope=Scope.FILE,
        says="the TRL record is missing or not as agreed",
        found="the file's end after 24,102 rows",
        wanted="TRL,24102 after the last row: the file may be cut off",
    ),
    "sync-count": Code(
        scope=Scope.FILE,
        says="the TRL record counts other rows than the file has",
        found="50000",
        wanted="49998, the number of DTL rows",
    ),
    "sync-no-rows": Code(
        scope=Scope.FILE,
        says="the part has no rows",
        found="no DTL row",
        wanted="at least one",
    ),
    "sync-after-trailer": Code(
        scope=Scope.FILE,
        says="something follows the TRL record",
        found="DTL,10443720000000002,,,,A,RES,RESLOWR and 11 more",
        wanted="nothing after TRL",
    ),
    "sync-record": Code(
        scope=Scope.ROW,
        says="the line is no record of a sync",
        found="dtl,10443720000000001",
        wanted="DTL or TRL",
    ),
    "sync-fields": Code(
        scope=Scope.ROW,
        says="the row has another number of fields",
        found="14 fields",
        wanted="15 fields",
    ),
    "sync-account": Code(
        scope=Scope.ROW,
        says="the account is not one",
        found="1044372 0001",
        wanted="1 to 64 characters of A-Z a-z 0-9 . _ -",
    ),
    "sync-egs-duns": Code(
        scope=Scope.ROW,
        says="the EGS's DUNS is not one",
        found="79953",
        wanted="9 to 13 characters of A-Z 0-9, or nothing",
    ),
    "sync-egs-start": Code(
        scope=Scope.ROW,
        says="the EGS's start date is not a date",
        found="20130230",
        wanted="ccyymmdd, a date that exists, or nothing",
    ),
    "sync-account-status": Code(
        scope=Scope.ROW,
        says="the account's status is none of those agreed",
        found="X",
        wanted="A, D or I",
    ),
    "sync-customer-class": Code(
        scope=Scope.ROW,
        says="the customer class is none of those agreed",
        found="COM",
        wanted="RES, SCI or LCI",
    ),
    "sync-text": Code(
        scope=Scope.ROW,
        says="a name is too long or holds a control character",
        found="CHAMPION\tENERGY",
        wanted="a name of at most 100 characters, none of them a control character",
    ),
    "sync-zip": Code(
        scope=Scope.ROW,
        says="the ZIP is not one",
        found="7700",
        wanted="5 digits, or 5 and 4",
    ),
    "sync-meter": Code(
        scope=Scope.ROW,
        says="the meter number is not one",
        found="",
        wanted="a meter number of 1 to 64 characters, none of them a control character",
    ),
    "sync-multiplier": Code(
        scope=Scope.ROW,
        says="the meter multiplier is not one",
        found="-1",
        wanted="a decimal above 0, of at most 9 digits before the point and 6 after it",
    ),
    "sync-channels": Code(
        scope=Scope.ROW,
        says="the channels are not named as agreed",
        found="4;4",
        wanted="one channel or several, all different, with ; between",
    ),
    "sync-interval": Code(
        scope=Scope.ROW,
        says="the interval length is none of those agreed",
        found="15",
        wanted="900, 1800 or 3600",
    ),
    "sync-ami": Code(
        scope=Scope.ROW,
        says="whether the meter is an AMI meter is not said",
        found="1",
        wanted="Y or N",
    ),
    "account-twice-differs": Code(
        scope=Scope.ROW,
        says="an account has two rows of different suppliers",
        found="EGS 799530915 from 20130115",
        wanted="EGS 148055531 from 20130115, as in line 2",
    ),
    "meter-twice": Code(
        scope=Scope.ROW,
        says="a meter of an account has two rows",
        found="MTR0012345",
        wanted="each meter of an account once; this one stands in line 2",
    ),
}
