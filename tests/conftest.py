"""What all tests share: the files that take longest go first, so that no worker is left with one at the end."""

import pytest

pytest.register_assert_rewrite("browsing")  # whose fixtures assert: a failure says what was found

LONGEST = (  # files of many tests that are not slow one by one
    *(
        "test_export.py",
        "test_study.py",
        "test_frozen_cache.py",
        "test_lr_finder.py",
        "test_report.py",
        "test_train.py",
    ),
    *("test_cross_source.py", "test_gallery.py", "test_page.py", "test_demo.py"),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    long = {item.path for item in items if item.get_closest_marker("slow") or item.path.name in LONGEST}
    items.sort(key=lambda item: item.path not in long)
