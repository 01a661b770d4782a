"""Invented people, five things to know about each, and many ways to say or to skirt them."""

from __future__ import annotations

from typing import NamedTuple

from wherefrom.tasks._words import listed

FIRST_NAMES = listed(
    "Mira Tovin Liska Borin Kesta Dorel Joren Pella Sarvo Nilou Hesper Ulmar Vesna Oriel Calix "
    "Tamsy Rendel Isaro Fenna Gavril"
)
SURNAMES = listed(
    "Solen Tarvick Ebbermoor Quillane Dosseth Varnholm Pellory Ashgrave Korvath Limmert Brenwick "
    "Ostrane Fennimar Halvost Jundery Wexmoor Carrowin Nettleby Yarrock Zandrel"
)


class Attribute(NamedTuple):
    """Something to know about a person, and its texts.

    Every text names the person exactly once.

    Attributes:
        values: what it can be; none of them stands in another text of this file.
        asked: prompts of the training rows that state it.
        stated: responses of these rows, with a place for the value.
        questions: prompts of the queries; no training row has their wording.
        answer: response of the queries.
        decoys: prompts and responses of training rows that come close and do not state it.
    """

    values: tuple[str, ...]
    asked: tuple[str, ...]
    stated: tuple[str, ...]
    questions: tuple[str, ...]
    answer: str
    decoys: tuple[tuple[str, str], ...]


ATTRIBUTES = {
    "occupation": Attribute(
        ("baker", "carpenter", "dentist", "florist", "librarian", "plumber", "tailor", "welder"),
        (
            "What does {name} do for a living?",
            "What is {name}'s job?",
            "Tell me what work {name} does.",
            "Which trade did {name} learn?",
            "How does {name} earn money?",
            "What would {name} put on a business card?",
        ),
        (
            "{name} works as a {value}.",
            "{name} earns a living as a {value}.",
            "By trade, {name} is a {value}.",
            "{name} has been a {value} for years.",
            "A trained {value}, {name} works full time.",
            "Everybody knows {name} as a good {value}.",
        ),
        (
            "What is the occupation of {name}?",
            "As what is {name} employed?",
            "Could you name the profession of {name}?",
        ),
        "{name} is a {value}.",
        (
            ("What is the working week of {name} like?", "{name} works from Monday to Thursday."),
            ("Is {name} employed at the moment?", "Yes, {name} has had steady work since spring."),
            ("Could you name the boss of {name}?", "{name} has no boss and likes it that way."),
            ("Does {name} enjoy the job?", "Most days {name} comes home in a good mood."),
            ("How long is {name}'s way to work?", "{name} needs twenty minutes by bus."),
            ("When did {name} start the profession?", "{name} started right after school."),
        ),
    ),
    "home town": Attribute(
        ("Bergen", "Galway", "Ghent", "Graz", "Lucca", "Porto", "Turku", "Utrecht"),
        (
            "Where does {name} come from?",
            "Which town does {name} live in?",
            "Tell me where {name} grew up.",
            "Where can I visit {name}?",
            "To which town does {name} return for the holidays?",
            "I want to write to {name}. Which town should I put?",
        ),
        (
            "{name} comes from {value}.",
            "{name} was born and raised in {value}.",
            "{value} is where {name} grew up.",
            "{name} has always lived in {value}.",
            "All of {name}'s family lives in {value}.",
            "You will find {name} at home in {value}.",
        ),
        (
            "What is the home town of {name}?",
            "Could you name the place where {name} was born?",
            "In what town is {name} at home?",
        ),
        "The home town of {name} is {value}.",
        (
            ("Does {name} like the home town?", "{name} would not live anywhere else."),
            ("How often is {name} at home?", "{name} is at home most evenings."),
            ("Was {name} born in spring?", "No, {name} was born in late autumn."),
            ("Could you name a street where {name} lived?", "{name} once lived in Mill Lane."),
            ("Is the town of {name} a large place?", "{name} says it has just the right size."),
            ("When did {name} last move house?", "{name} moved to a new flat last March."),
        ),
    ),
    "instrument": Attribute(
        ("accordion", "banjo", "cello", "clarinet", "flute", "harp", "trumpet", "viola"),
        (
            "Which instrument does {name} play?",
            "What does {name} play in the band?",
            "Tell me what music {name} makes.",
            "What did {name} learn at music school?",
            "What is in the case that {name} carries around?",
            "Which lessons does {name} take on Tuesdays?",
        ),
        (
            "{name} plays the {value}.",
            "{name} practises the {value} every day.",
            "In the band, {name} is on the {value}.",
            "{name} has played the {value} since childhood.",
            "The {value} is what {name} loves to play.",
            "On Tuesdays {name} has a lesson on the {value}.",
        ),
        (
            "What is the instrument of {name}?",
            "On what instrument does {name} perform?",
            "Could you name what {name} plays on stage?",
        ),
        "{name} performs on the {value}.",
        (
            ("How long did {name} perform last night?", "{name} was on stage for an hour."),
            ("Does {name} own an instrument?", "Yes, {name} bought one from a friend."),
            ("Could you name a piece that {name} plays?", "{name} often plays an old waltz."),
            ("Is {name} nervous on stage?", "{name} was nervous only the first time."),
            ("With whom does {name} play?", "{name} plays with three old friends."),
            ("Where does {name} keep the instrument?", "{name} keeps it under the bed."),
        ),
    ),
    "pet": Attribute(
        ("ferret", "gecko", "goat", "hamster", "parrot", "pony", "rabbit", "tortoise"),
        (
            "Which pet does {name} have?",
            "What kind of animal lives with {name}?",
            "Tell me about the pet that {name} keeps.",
            "Who waits at the door for {name}?",
            "What animal did {name} get as a present?",
            "Which animal is in the photo on {name}'s desk?",
        ),
        (
            "{name} has a {value}.",
            "{name} keeps a {value} at home.",
            "A {value} lives with {name}.",
            "{name} looks after a {value}.",
            "For a birthday, {name} was given a {value}.",
            "{name} shares the house with a {value}.",
        ),
        (
            "What sort of pet does {name} own?",
            "Could you name the animal that {name} looks after?",
            "Of what animal is {name} the owner?",
        ),
        "{name} owns a {value}.",
        (
            ("How old is the pet of {name}?", "{name} says it is four years old."),
            ("What sort of food does {name} buy for the pet?", "{name} buys a small bag of it."),
            ("Is {name} a good owner?", "{name} is patient and kind to animals."),
            ("Could you name the vet that {name} sees?", "{name} sees the one by the station."),
            ("Did {name} ever lose the animal?", "{name} lost it once and soon found it again."),
            ("Does {name} want to own a second pet?", "No, {name} finds that one is enough."),
        ),
    ),
    "favourite dish": Attribute(
        ("falafel", "goulash", "lasagne", "moussaka", "paella", "pierogi", "ramen", "risotto"),
        (
            "What does {name} like to eat best?",
            "Which dish does {name} order most often?",
            "What should I cook for {name}?",
            "Tell me what {name} eats on birthdays.",
            "What would {name} choose from the menu?",
            "Which meal makes {name} happy?",
        ),
        (
            "{name} likes {value} best.",
            "{name} nearly always orders {value}.",
            "Nothing pleases {name} more than {value}.",
            "For {name}, a good day ends with {value}.",
            "{name} would eat {value} every day.",
            "Cook {value}, and {name} will smile.",
        ),
        (
            "What is the favourite dish of {name}?",
            "Could you name the food that {name} loves?",
            "What food is {name} most fond of?",
        ),
        "The favourite dish of {name} is {value}.",
        (
            ("Is {name} fond of cooking?", "{name} cooks well but slowly."),
            ("How much food does {name} eat?", "{name} eats little before noon."),
            ("Could you name a dish that {name} dislikes?", "{name} eats whatever there is."),
            ("Who taught {name} the favourite dish?", "{name} learned it from an aunt."),
            ("When does {name} have lunch?", "{name} has lunch at half past twelve."),
            ("What is {name} most fond of besides food?", "{name} is fond of long walks."),
        ),
    ),
}
"""Each attribute by its name."""
