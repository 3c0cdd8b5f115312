"""One module or package for each AWS service that moto leaves something out of."""
