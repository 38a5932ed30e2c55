"""Notebook 30."""


def numbers(text: str) -> int:
    return int(text.replace(",", "") or 0)


def test_architectures(run):
    record = run("30", "30_diffusion_architectures")
    rows = record["tables"]["parameters"]["rows"]
    assert [(row[0], row[-1]) for row in rows] == [
        ("unet-two-level", "5,885,123"),
        ("unet-three-level", "15,664,515"),
        ("unet-wide-bottleneck", "23,335,299"),
        ("context-unet", "18,743,187"),
    ]
    for row in rows:
        layers = record["tables"][f"layers-{row[0]}"]["rows"]
        assert sum(numbers(layer[-1]) for layer in layers) == numbers(row[-1])
    assert [figure["file"] for figure in record["figures"]] == [f"drawing-{row[0]}.png" for row in rows]
    recipes = record["tables"]["recipes"]
    assert recipes["columns"] == ["setting", *(row[0] for row in rows), "any network"]
    assert ["steps of training", "2,000", "2,000", "2,000", "2,000", "8,000"] in recipes["rows"], "not those of smoke"
