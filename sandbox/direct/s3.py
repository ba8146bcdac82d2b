"""S3 in a dictionary, as far as whole objects and conditional writes go.

Source: S3 user guide, "How to prevent object overwrites with conditional writes" and "How to perform
conditional deletes".
"""

from __future__ import annotations

import hashlib
import io
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from sandbox.direct.client import Handler, Params
from sandbox.model.errors import ServiceError


@dataclass
class MemoryObjects:
    """Objects by bucket and key."""

    buckets: dict[str, dict[str, tuple[bytes, str]]] = field(default_factory=dict)
    _tags: Iterator[int] = field(default_factory=lambda: itertools.count(1), repr=False)

    def handlers(self) -> dict[str, Handler]:
        """Return S3's handlers."""
        return {
            "CreateBucket": self.create_bucket,
            "GetObject": self.get,
            "HeadObject": self.head,
            "PutObject": self.put,
            "DeleteObject": self.delete,
            "ListObjectsV2": self.list,
        }

    def content(self, bucket: str, key: str) -> bytes | None:
        """Return an object's content past the API; None if there is none."""
        found = self.buckets.get(bucket, {}).get(key)
        return found[0] if found else None

    def create_bucket(self, params: Params) -> dict[str, Any]:
        """Make a bucket."""
        self.buckets.setdefault(params["Bucket"], {})
        return {"Location": f"/{params['Bucket']}"}

    def get(self, params: Params) -> dict[str, Any]:
        """Read an object."""
        content, tag = self._require(params)
        return {"Body": io.BytesIO(content), "ETag": tag, "ContentLength": len(content)}

    def head(self, params: Params) -> dict[str, Any]:
        """Read what is known of an object."""
        try:
            content, tag = self._require(params)
        except ServiceError:
            raise ServiceError("404", "Not Found", 404) from None
        return {"ETag": tag, "ContentLength": len(content)}

    def put(self, params: Params) -> dict[str, Any]:
        """Write an object, if its condition is met."""
        objects, key = self._bucket(params), params["Key"]
        if params.get("IfNoneMatch") == "*" and key in objects:
            raise _unmet()
        if "IfMatch" in params:
            self._match(params)
        body = params.get("Body", b"")
        content = body if isinstance(body, bytes) else bytes(body)
        # Unlike S3's own it is never the same again, so that no test relies on equal content.
        digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
        tag = f'"{digest}-{next(self._tags)}"'
        objects[key] = content, tag
        return {"ETag": tag}

    def delete(self, params: Params) -> dict[str, Any]:
        """Delete an object; without a condition one that is not there is fine."""
        if "IfMatch" in params:
            self._match(params)
        self._bucket(params).pop(params["Key"], None)
        return {}

    def list(self, params: Params) -> dict[str, Any]:
        """List keys under a prefix, all on one page."""
        prefix = params.get("Prefix", "")
        found = [
            {"Key": key, "ETag": tag, "Size": len(content)}
            for key, (content, tag) in sorted(self._bucket(params).items())
            if key.startswith(prefix)
        ]
        return {"Contents": found, "KeyCount": len(found), "IsTruncated": False}

    def _match(self, params: Params) -> None:
        found = self._bucket(params).get(params["Key"])
        if found is None:
            raise ServiceError("NoSuchKey", "The specified key does not exist.", 404)
        if found[1] != params["IfMatch"]:
            raise _unmet()

    def _require(self, params: Params) -> tuple[bytes, str]:
        found = self._bucket(params).get(params["Key"])
        if found is None:
            raise ServiceError("NoSuchKey", "The specified key does not exist.", 404)
        return found

    def _bucket(self, params: Params) -> dict[str, tuple[bytes, str]]:
        if params["Bucket"] not in self.buckets:
            raise ServiceError("NoSuchBucket", "The specified bucket does not exist", 404)
        return self.buckets[params["Bucket"]]


def _unmet() -> ServiceError:
    message = "At least one of the pre-conditions you specified did not hold"
    return ServiceError("PreconditionFailed", message, 412)
