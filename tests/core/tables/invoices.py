"""Schemas that the tests of tables share."""

from fox_shard.tables.schema import TableSet

SEED = """
"invoice": {
"type": "object",
"properties": {
"date": { "type": "string" },
"customer": { "type": "string" },
"amount": { "type": "string" }
},
"primary_key":[ "date", "customer" ],
"propagate":{
"detail":[{
"key": [ "customer" ],
"fields": { "total": "amount" }
}]
}
},
"detail": {
"type": "aggregate",
"properties": {
"customer": { "type": "string" },
"total": { "type": "string" }
},
"primary_key": [ "customer" ],
"sum": [ "amount" ]
}"""
"""The example, as it is printed on the page that this project comes from."""


def pair(source=None, target=None, *, edge=None, amount="number", **functions):
    """Return a schema of a table `a` that propagates to an aggregate `b`."""
    properties = {"id": {"type": "string"}, "group": {"type": "string"}, "n": {"type": amount}}
    results = {"group": {"type": "string"}, "r": {"type": amount}, "count": {"type": "integer"}}
    return {
        "a": {
            "type": "object",
            "properties": properties,
            "primary_key": ["id"],
            "propagate": {"b": [{"key": ["group"], "fields": {"r": "n"}, **(edge or {})}]},
            **(source or {}),
        },
        "b": {
            "type": "aggregate",
            "properties": results,
            "primary_key": ["group"],
            **(functions or {"sum": ["r"]}),
            **(target or {}),
        },
    }


def tables(*args, **kwargs):
    return TableSet.parse(pair(*args, **kwargs))
