import json
from pathlib import Path

import pytest

from edgerec.errors import RecipeError
from edgerec.recipe import check_recipe, dump_recipe, load_recipe


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "recipe.toml"
    path.write_text(text)
    return path


def test_every_field_but_the_source_has_a_default(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path, '[data]\nsource = "grocery"\n'))
    assert (recipe.model.encoder, recipe.model.dim, recipe.model.hidden) == ("gru", 32, None)
    assert recipe.model.transitions.neighbours == 20
    assert recipe.model.prior
    assert recipe.convert.schemes == ["float32", "float16", "int8"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[data]\nsource = "grocery"\n[train]\nepoch = 3\n', ".toml:4: train.epoch: unknown key; did you mean epochs?"),
        ('[data]\nsource = "grocery"\n[trian]\nepochs = 3\n', "recipe.toml:3: trian: unknown key; did you mean train?"),
        ('[data]\nsource = "grocery"\n[train]\nepochs = "x"\n', "recipe.toml:4: train.epochs: "),
        ('[data]\nsource = "grocery"\n[model]\nencoder = "sasrec"\ndim = 10\nheads = 3\n', "not a multiple of heads 3"),
        ('[data]\nsource = "grocery"\n[convert]\nschemes = ["int5"]\n', "unknown scheme 'int5'; did you mean int8?"),
        ('[data]\nsource = "grocery"\n[model]\nencoder = "lstm"\n', ".toml:4: model.encoder: 'lstm' is unknown; known"),
        ('[data]\nsource = "grocery"\n[model]\nencoder = "gru"\nheads = 2\n', 'it goes with encoder = "sasrec"'),
        ('[data]\nsource = "grocery"\n[model]\nencoder = "cnn"\nhidden = 9\n', 'encoder = "gru" or encoder = "lru"'),
        ('[data]\nsource = "grocery"\n[model]\nencoder = "mean"\nexpansion = 2\n', "model.expansion: unknown key"),
        ('[data]\nsource = "grocery"\n[split]\ntest = 0.2\n', 'it goes with kind = "temporal"'),
        ('[data]\nsource = "grocery"\npath = "x.csv"\n', 'it goes with source = "table" or source = "movielens"'),
        ('[data]\nsource = "grocery"\nspark_master = "x"\n', 'spark_master has no effect without engine = "spark"'),
        ('[data]\nsource = "grocery"\n[train]\nloss = "cross-entropy"\nnegatives = 9\n', "negatives has no effect"),
        ('[data]\nsource = "grocery"\n[prune]\nmethod = "structured"\nsparsity = 0.5\n', 'with method = "magnitude"'),
        ('[data]\nsource = "grocery"\n[prune]\nmethod = "structured"\ncriterion = "luck"\n', "unknown criterion"),
        ('data.source="grocery"\nmodel.encoder="cnn"\n[prune]\nmethod="structured"\nshares={state=0.5}\n', "needs"),
        ('[data]\nsource = "grocery"\n[model]\ntransitions = { neighbours = -1 }\n', "model.transitions.neighbours: "),
        ('[data]\nsource = "grocery"\n[model]\ntransitions = { neighbors = 9 }\n', "did you mean neighbours?"),
        ('[data]\nsource = "grocery"\n[convert]\nparts = ["prior", "prior"]\n', "parts must name at least one"),
        ('[data]\nsource = "grocery"\n[convert]\nparts = ["trends"]\n', "convert.parts"),
        ("[data]\n", "needs a path"),
        ("[data\n", "not TOML"),
        ("", "data: Field required"),
    ],
)  # fmt: skip
def test_a_wrong_recipe_is_told_in_one_line_with_file_and_key(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe(write(tmp_path, text))
    assert said in str(caught.value)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_absent_recipe_is_told(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="no such recipe"):
        load_recipe(tmp_path / "none.toml")


def test_overrides_take_toml_values_and_bare_words(tmp_path: Path) -> None:
    path = write(tmp_path, '[data]\npath = "t.csv"\n')
    recipe = load_recipe(path, ["train.epochs=7", "data.name=shop", "convert.schemes=['int8']", "data.columns.user=u"])
    assert recipe.train.epochs == 7
    assert recipe.data.name == "shop"
    assert recipe.convert.schemes == ["int8"]
    assert recipe.data.columns.user == "u"


@pytest.mark.parametrize("override", ["train", "epochs=3", "=3", "train.=3"])
def test_an_override_without_section_or_value_is_told(tmp_path: Path, override: str) -> None:
    with pytest.raises(RecipeError, match=r"section\.key=value"):
        load_recipe(write(tmp_path, '[data]\nsource = "grocery"\n'), [override])


def test_paths_in_a_recipe_are_relative_to_it_and_overrides_to_the_current_folder(tmp_path: Path) -> None:
    path = write(tmp_path, '[data]\npath = "a.csv"\n')
    assert load_recipe(path).data.path == str(tmp_path / "a.csv")
    assert load_recipe(path, ["data.path=b.csv"]).data.path == "b.csv"


@pytest.mark.parametrize("name", ["grocery", "movielens-1m"])
def test_the_recipes_of_the_zoo_are_valid(name: str) -> None:
    assert load_recipe(Path(__file__).parent.parent / "models" / name / "recipe.toml").data.name == name


def test_an_override_that_chooses_another_form_drops_what_only_goes_with_the_former_one(tmp_path: Path) -> None:
    path = write(tmp_path, '[data]\nsource = "grocery"\n[model]\nencoder = "gru"\nhidden = 9\ndim = 8\n')
    recipe = load_recipe(path, ["model.heads=2", "model.encoder=sasrec"])
    assert (recipe.model.encoder, recipe.model.dim, recipe.model.heads) == ("sasrec", 8, 2)
    with pytest.raises(RecipeError, match="'none' is unknown"):
        load_recipe(path, ["model.encoder=none"])
    with pytest.raises(RecipeError, match=r'model\.hidden: unknown key; it goes with encoder = "gru"'):
        load_recipe(path, ["model.encoder=sasrec", "model.hidden=9"])


def test_a_resolved_recipe_is_a_recipe(tmp_path: Path) -> None:
    """``recipe.json`` of a run has every default written out."""
    recipe = load_recipe(write(tmp_path, '[data]\nsource = "grocery"\n[train]\nloss = "cross-entropy"\n'))
    assert check_recipe(json.loads(dump_recipe(recipe))) == recipe


def test_a_seed_beyond_what_tensorflow_takes_is_told(tmp_path: Path) -> None:
    """Issue 10, item 27: it ended in a traceback."""
    with pytest.raises(RecipeError, match=r"train\.seed: Input should be less than 4294967296"):
        load_recipe(write(tmp_path, f'[data]\nsource = "grocery"\n[train]\nseed = {2**32}\n'))


def test_deeply_nested_toml_is_told(tmp_path: Path) -> None:
    """Issue 10, item 27: it ended in a traceback."""
    nested = "[" * 5000 + "]" * 5000
    with pytest.raises(RecipeError, match=r"nested too deeply|not TOML"):
        load_recipe(write(tmp_path, f"[data]\nx = {nested}\n"))
    with pytest.raises(RecipeError):
        load_recipe(write(tmp_path, '[data]\nsource = "grocery"\n'), [f"data.name={nested}"])


def test_a_uri_in_a_recipe_stays_one(tmp_path: Path) -> None:
    """Issue 10, item 12."""
    path = write(tmp_path, '[data]\npath = "hdfs://host/orders.parquet"\nengine = "spark"\n')
    assert load_recipe(path).data.path == "hdfs://host/orders.parquet"
