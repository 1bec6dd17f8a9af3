"""Names of containers: random ones, and the rule for chosen ones."""

from __future__ import annotations

import os
from typing import Final

from pyrust_ctr.errors import InvalidArgument
from pyrust_ctr.ids import NAME

MAXIMUM_LENGTH: Final = 255

_ADJECTIVES: Final = (
    "able agile airy alert amber ample apt ardent azure balmy bold brave bright brisk bubbly calm "
    "candid careful cheery civil clear clever cosmic cosy crisp curious daring dapper deft dewy eager "
    "earnest easy fair fancy fleet fluent fond frank fresh gallant gentle genuine glad golden "
    "graceful grand hardy hearty helpful honest humble ideal jaunty jolly joyful keen kind lively "
    "loyal lucid lucky lunar mellow merry mighty modest neat nimble noble novel patient placid plucky "
    "polite proud prudent quick quiet radiant rapid ready robust rosy serene sharp shiny silver "
    "sincere sleek smart snug solar solid sonic spry stable stellar steady sunny supple sure swift "
    "tender tidy tranquil trusty upbeat valiant velvet vivid warm wise witty young zesty "
)

_SURNAMES: Final = (
    "abel agnesi ampere apgar avogadro babbage banach bell bernoulli bessel blackburn bohr boltzmann "
    "boole born bose boyle brahe bragg braille bunsen cantor carnot carson cauchy cavendish chandra "
    "clausius copernicus coulomb crick curie dalton darwin davy descartes dirac doppler eddington "
    "edison elion erdos euclid euler faraday fermat fermi feynman fibonacci fourier franklin fresnel "
    "galileo galois gauss germain gibbs goodall hadamard hahn halley hamilton harvey hawking "
    "heisenberg helmholtz hertz herschel hilbert hodgkin hooke hopper hubble humboldt huygens jacobi "
    "jenner joule kelvin kepler kirchhoff klein knuth koch kovalevskaya lagrange laplace lavoisier "
    "leavitt leibniz linnaeus lorentz lovelace lyell mach markov maxwell mayer mcclintock meitner "
    "mendel mendeleev mirzakhani mitchell moebius morse napier newton nightingale nobel noether ohm "
    "oersted oppenheim pascal pasteur pauli payne peano planck poincare poisson ptolemy ramanujan "
    "ramsay rayleigh riemann ritchie roentgen rubin rutherford sagan salk schrodinger shannon "
    "somerville sorensen stokes tesla thales torricelli turing volta watt weber weierstrass wegener "
    "weyl wiles wozniak yalow young yukawa zeeman zorn "
)


def random_name(attempt: int = 0) -> str:
    """`brave_noether`; later attempts have a number appended."""
    adjectives, surnames = _ADJECTIVES.split(), _SURNAMES.split()
    # Far more random bits than words, so that the remainder is as good as even.
    number = int.from_bytes(os.urandom(16))
    number, adjective = divmod(number, len(adjectives))
    number, surname = divmod(number, len(surnames))
    name = f"{adjectives[adjective]}_{surnames[surname]}"
    return f"{name}{number % 10 ** min(attempt, 6)}" if attempt else name


def check_name(name: str) -> str:
    """The name without Docker's leading slash; `InvalidArgument` when it is none."""
    bare = name.removeprefix("/")
    if not NAME.fullmatch(bare) or len(bare) > MAXIMUM_LENGTH:
        raise InvalidArgument(
            f"`{name}` is not a name for a container",
            hint="Letters, digits, `_`, `.` and `-`, beginning with a letter or digit.",
        )
    return bare
