"""Every reference result of the area level and of the design is used by a test, or another issue's by name.

A test uses a file by calling the fixture ``reference(name)``. The argument is read from the syntax tree: an
f-string or a sum stands for all names that its module's own constants can fill in, so that a name which no
constant of the module could complete is not used. Removing the test, or adding a file without one, fails.
"""

import ast
import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
FAMILIES = re.compile(r"(sae|emdi|saeRobust|msae|hbsae|own_exact|laeken|survey)_")
# what belongs to later issues, and why it is none of the area level or of the design
ELSEWHERE = {
    r"sae_cornsoybean_bhf_.*": "nested error model of units (BHF)",
    r"hbsae_cornsoybean_unit_.*": "nested error model of units, REML and Bayes",
    r"sae_incomedata_(eb|pbmseeb)_.*": "empirical best predictor of poverty from units",
    r"emdi_ebp_.*|own_exact_ebp_.*": "empirical best predictor from units",
    r"own_exact_allocation": "planning: allocations",
}
# where a figure of a reference is not ours, the proof of who is right stands in the test named
EXCEPTIONS = {
    "emdi_fh_arcsin_ml_naive_jackknife": "test_emdis_arcsin_jackknives_explained",
    "emdi_fh_arcsin_ml_naive_weighted_jackknife": "test_emdis_arcsin_jackknives_explained",
    "emdi_fh_arcsin_reml_naive_jackknife": "test_emdis_arcsin_jackknives_explained",
    "emdi_fh_arcsin_reml_naive_weighted_jackknife": "test_emdis_arcsin_jackknives_explained",
    "emdi_fh_arcsin_ml_bc_boot_mc": "test_arcsin_exact",
    "emdi_fh_arcsin_ml_bc_defaulttol": "test_arcsin_back_transform_as_emdi_at_its_own_variance",
    "emdi_fh_arcsin_reml_bc_boot_mc": "test_arcsin_back_transform_as_emdi_at_its_own_variance",
    "emdi_fh_ampl_yl_analytical": "test_emdis_yoshimori_lahiri_is_no_maximum",
    "emdi_fh_amrl_yl_analytical": "test_emdis_yoshimori_lahiri_is_no_maximum",
    "emdi_fh_log_ml_bc_sm_analytical": (
        "test_slud_maiti_is_nearly_unbiased_and_emdis_double_bias_term_is_not"
    ),
    "emdi_fh_logit_ml_bc_boot_mc": "test_shares_at_the_ends_are_refused_by_name_on_the_logit_scale",
    "emdi_fh_logit_ml_naive_boot_mc": "test_shares_at_the_ends_are_refused_by_name_on_the_logit_scale",
    "emdi_fh_reml_ic_mc": "test_kullback_term_of_the_references_counts_the_coefficients_twice_under_reml",
    "sae_milk_fh_reml_ic_mc": "test_kullback_term_of_the_references_counts_the_coefficients_twice_under_reml",
    "msae_datasae1_eblupMFH3": "test_model_3_of_msae_is_reproduced_only_with_its_swapped_covariances",
    "msae_datasae1_eblupUFH": "test_as_msae_one_variable_at_a_time",
    "msae_datasae1_eblupUFH_samevar": "test_as_msae_with_one_variance_for_all_variables",
    "emdi_unsupported_combinations": "test_what_emdi_does_not_combine_is_computed_or_refused_by_name",
    "sae_incomedata_direct_income": ("test_with_replacement_form_is_a_stratified_total_over_the_known_size"),
}


def _constants(tree):
    """Words among the constants of a module: what may fill a hole of an f-string."""
    found = {
        str(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and type(node.value) in (str, int)
    }
    return {word for word in found if re.fullmatch(r"\w*", word)}


def _pattern(node, hole):
    """Regular expression of the names that an expression can stand for."""
    if isinstance(node, ast.Constant):
        return re.escape(str(node.value))
    if isinstance(node, ast.JoinedStr):
        return "".join(_pattern(part, hole) for part in node.values)
    if isinstance(node, ast.FormattedValue):
        return _pattern(node.value, hole)
    if isinstance(node, ast.BinOp):
        return _pattern(node.left, hole) + _pattern(node.right, hole)
    if isinstance(node, ast.IfExp):
        return f"(?:{_pattern(node.body, hole)}|{_pattern(node.orelse, hole)})"
    return hole


def used_by(names):
    """Test modules that use each reference result."""
    uses = {name: set() for name in names}
    for path in sorted(TESTS.rglob("test_*.py")):
        text = path.read_text(encoding="utf-8")
        if "reference(" not in text:
            continue
        tree = ast.parse(text)
        words = sorted(_constants(tree), key=len, reverse=True)
        hole = "(?:" + "|".join(map(re.escape, words)) + ")"
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "reference":
                pattern = re.compile(_pattern(node.args[0], hole))
                for name in names:
                    if pattern.fullmatch(name):
                        uses[name].add(path.relative_to(TESTS).as_posix())
    return uses


@pytest.fixture(scope="module")
def names(shared_data):
    folder = shared_data.parent / "reference"
    return sorted(path.stem for path in folder.glob("*.json") if FAMILIES.match(path.stem))


def issue(name):
    return next((reason for pattern, reason in ELSEWHERE.items() if re.fullmatch(pattern, name)), None)


def test_every_reference_result_is_used_or_belongs_elsewhere(names):
    ours = [name for name in names if issue(name) is None]
    assert len(ours) > 90
    assert [name for name, modules in used_by(ours).items() if not modules] == []


def test_every_reason_stands_for_a_file(names):
    assert [pattern for pattern in ELSEWHERE if not any(re.fullmatch(pattern, name) for name in names)] == []


def test_every_exception_has_its_proof(names):
    written = {
        node.name: path
        for path in TESTS.rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef)
    }
    assert [name for name in EXCEPTIONS if name not in names] == []
    assert [proof for proof in EXCEPTIONS.values() if proof not in written] == []


def test_a_name_that_no_constant_completes_is_not_used(tmp_path, monkeypatch):
    module = tmp_path / "test_it.py"
    module.write_text(
        "def f(k):\n    for m in ('reml', 'ml'):\n        reference(f'emdi_fh_{m}_x' + ('_t' if k else ''))\n"
    )
    monkeypatch.setitem(globals(), "TESTS", tmp_path)
    found = used_by(["emdi_fh_reml_x", "emdi_fh_ml_x_t", "emdi_fh_pr_x", "emdi_fh_reml_y"])
    assert [name for name, modules in found.items() if modules] == ["emdi_fh_reml_x", "emdi_fh_ml_x_t"]
