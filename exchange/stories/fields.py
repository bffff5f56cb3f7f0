"""What the JSON of `meterhub explain` holds, in words: by section, what each field says."""

FIELDS: dict[str, dict[str, str]] = {
    "of_record_since (account)": {
        "since, until": "from when until when; until is null for what still is",
        "words": "who was of record, or why nobody was",
        "egs, egs_duns, egs_start": "its id if it is a partner; its DUNS; the day from which the roster names it",
        "sync, sync_as_of, last_sync, syncs": "the first sync that said so, the last one, and how many in between",
    },
    "versions (account)": {
        "usage_date, channel, version, current": "which; current is the one that counts",
        "outranked": "whether a version with a later stamp stood when it came, so that it never counts",
        "stamp, affirmed, affirmed_by": "the EDC's stamp; later ones under which it came again, and their drops",
        "received_at, loaded_at, on_time": "when its drop had come and was loaded; whether by the day's deadline",
        "drop, file, line": "the drop, the name of its file, and the line its block begins on, from 1",
        "kwh, intervals, estimated": "the sum of the values, how many there are, how many of them are estimated",
        "lake_file_id": "the lake file that holds it",
        "archive, archived_row, archived_kwh": "with --day: `agrees`, or how the archived bytes differ; that line of "
        "the file as it came; the sum of the values there",
    },
    "carried (account)": {
        "usage_date, channel, version": "what the file carries",
        "egs, file, sequence, publication, sync": "for whom, its name and number, the publication, and the sync that said so",
        "state, bytes": "recorded, laid-out, withdrawn or expired; its size",
        "laid_out_at, collected_at": "when it appeared; when it was first fetched whole",
        "withdrawn_at, withdrawn_by, replaced_by, expired_at": "when and by which sync it was taken back, the file in its "
        "place; when it had lain long enough",
        "collections": "a list, as below",
    },
    "collections (outbound-file, and in carried)": {
        "partner, address, key_fingerprint, session": "who read it, from where, with which key",
        "began_at, ended_at, bytes, of, whole": "when; how many of its bytes were sent; whether all were",
    },
    "held (account, drop)": {
        "usage_date, blocks, reason, egs_duns": "what waited: suspense, unclaimed (by that EGS), late, unfetched (taken "
        "back by a switch before it was fetched) or nobody (who was of record when it came)",
        "since, released_at, release": "from when until when; the publication that gave it free, or why none ever will",
    },
    "meters (account)": {
        "egs_duns, egs_name, egs_start, meter, channels, zip, …": "the rows of the sync in force, as they came",
    },
    "reasons (egs-day)": {
        "in, reason, means": "whether accounts are in, why, and that in words",
        "accounts, blocks": "how many accounts; how many account and channel pairs",
    },
    "--list --json, a line an account and channel (egs-day)": {
        "edc, account, channel, in, reason": "which, whether it is in what the EGS was given, and why",
        "version, drop, on_time, publication, published_by": "the version that counts, the drop it came with, whether in "
        "time; the publication that looked at it, and its sync",
        "given_version, sequence, file, state, laid_out_at, collected_at, withdrawn_by": "what the EGS was given of it, "
        "in which of its files",
        "held_for, held_since, release": "why and since when it was held back; its release",
        "egs_start": "from which day on it is the supplier's that the roster names",
    },
}
