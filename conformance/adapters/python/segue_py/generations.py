"""Chapter generations: which generation a pair runs at."""
from .registry import GENERATIONS, Refused

V1_4, V1_7, V2, V7 = (GENERATIONS[n] for n in ("1.4", "1.7", "2", "7"))


def check_hello(hello):
    if not V1_4 <= hello.floor <= V7 or hello.floor > hello.generation:
        raise Refused("WIRE_VALUE", "LINK-HELLO-2")


def pick(generation, floor, peer_generation, peer_floor):
    chosen = min(generation, peer_generation)
    if chosen < floor or chosen < peer_floor:
        raise Refused("VER_BELOW_FLOOR", "GEN-FLOOR-1")
    return chosen
