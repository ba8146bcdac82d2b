from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import boto3
import pytest
from moto import mock_aws

from bakeroll.core.layers.fingerprint import Document, compare, document, keep, recall
from bakeroll.core.layers.input_files import InputFile
from bakeroll.core.layers.inputs import Inputs

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

BUCKET = "example-bakeroll"
BASE = Document(
    "base", None, "ami-1", {"a": "0644 1", "b": "0644 2"}, {"Packer": "1.6.6", "Ansible": "2.19.1"}
)
APPLICATION = replace(BASE, layer="application", environment="development", repository="r", commit="a" * 40)


@pytest.fixture
def s3() -> Iterator[S3Client]:
    with mock_aws():
        client = boto3.client("s3", "us-east-1")
        client.create_bucket(Bucket=BUCKET)
        yield client


@pytest.mark.parametrize(
    "changed",
    [
        replace(APPLICATION, layer="base"),
        replace(APPLICATION, environment="staging"),
        replace(APPLICATION, parent="ami-2"),
        replace(APPLICATION, files={"a": "0755 1", "b": "0644 2"}),
        replace(APPLICATION, files={"a": "0644 1"}),
        replace(APPLICATION, versions={"Packer": "1.7.0", "Ansible": "2.19.1"}),
        replace(APPLICATION, repository="other"),
        replace(APPLICATION, commit="b" * 40),
    ],
)
def test_everything_in_a_document_counts(changed: Document) -> None:
    assert changed.fingerprint != APPLICATION.fingerprint


def test_order_does_not_count() -> None:
    turned = replace(BASE, files=dict(sorted(BASE.files.items(), reverse=True)))
    assert turned.fingerprint == BASE.fingerprint
    assert len(BASE.fingerprint) == 64


def test_only_the_application_knows_its_commit() -> None:
    files = (InputFile("a", "0644", "1"),)
    base = document(Inputs("base", None, files), "ami-1", {}, "r", "a" * 40)
    application = document(Inputs("application", "development", files), "ami-1", {}, "r", "a" * 40)
    assert (base.repository, base.commit) == (None, None)
    assert (application.repository, application.commit) == ("r", "a" * 40)


@pytest.mark.parametrize(
    ("new", "reasons"),
    [
        (BASE, []),
        (replace(BASE, parent="ami-2"), ["source AMI changed ami-1 -> ami-2"]),
        (replace(BASE, versions={**BASE.versions, "Packer": "1.7.0"}), ["Packer 1.6.6 -> 1.7.0"]),
        (
            replace(BASE, files={"a": "0755 1", "c": "0644 1"}),
            ["files changed: a", "files added: c", "files removed: b"],
        ),
    ],
)
def test_what_changed_is_named(new: Document, reasons: list[str]) -> None:
    assert compare(new, BASE) == reasons


def test_what_changed_in_the_application_is_named() -> None:
    new = replace(APPLICATION, parent="ami-2", commit="b" * 40)
    assert compare(new, APPLICATION) == [
        "parent image changed ami-1 -> ami-2",
        "application commit changed aaaaaaaaaa -> bbbbbbbbbb",
    ]
    assert compare(new, APPLICATION, parent_known=False) == [
        "application commit changed aaaaaaaaaa -> bbbbbbbbbb"
    ]


def test_many_files_are_cut_short() -> None:
    many = replace(BASE, files={str(n): "0644 1" for n in range(20)})
    assert compare(many, replace(BASE, files={}))[0].endswith("and 12 more")


def test_without_a_previous_one_it_is_the_first_build() -> None:
    assert compare(BASE, None) == ["first build"]


def test_a_kept_document_comes_back_the_same(s3: S3Client) -> None:
    keep(s3, BUCKET, APPLICATION)
    keep(s3, BUCKET, APPLICATION)
    found = recall(s3, BUCKET, "application", APPLICATION.fingerprint)
    assert found == APPLICATION
    assert found.fingerprint == APPLICATION.fingerprint
    assert recall(s3, BUCKET, "base", APPLICATION.fingerprint) is None


def test_a_document_of_another_format_is_not_understood(s3: S3Client) -> None:
    s3.put_object(Bucket=BUCKET, Key="inputs/base/x.json", Body=b'{"format":0}')
    assert recall(s3, BUCKET, "base", "x") is None
