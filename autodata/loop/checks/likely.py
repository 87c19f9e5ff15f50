"""Lists the patterns of texts that may speak to the one who answers. Honest questions match some of them too.

So a verifier decides about a question that matches, and only an edit of a prompt is refused for it.
"""

_SIZE = (
    r"(?:(?:weak|strong|small|large|dumb|smart|big|tiny|cheap|basic|advanced|capable|limited|powerful|simple|fast"
    r"|slow|compact|lightweight|frontier|expert)"
    r"(?:er|est)?|less(?:er)?(?:[ -]\w{1,12})?|more[ -]\w{1,12})"
)
_KIND = r"(?:solver|model|llm|language model|assistant|ai|agent|chatbot|system|respondent|answerer|network)s?"
_WHO = (
    rf"(?:{_SIZE}(?:,? (?:or|and) {_SIZE})?[ -](?:\w{{1,12}}[ -])?{_KIND}"
    r"|models? (?:with|of|under|below|above|over|up to) [^.?!]{0,25}parameters"
    r"|(?:models?|assistants?) without (?:a |an |any )?(?:\w{1,12} )?(?:tools?|reasoning|thinking|budget"
    r"|mode|internet|memory)"
    r"|(?:weak|strong)(?:er)? ones)"
)
_TASK = (
    r"(?:(?:this|these|the (?:above|following|present)) (?:question|prompt|exercise|quiz|exam|instruction)s?|here\b"
    r"|your (?:answer|response|reply)\b|(?:first|second|third|last|remaining|other) (?:half|part|item|sentence)s?"
    r"(?! of (?!(?:this|the) (?:question|prompt|exercise|task)))|(?:the|its|their) answers? (?:blank|empty))"
)
_DUTY = (
    r"(?:should|must|may|need(?:s|ed)?(?: not| only)?|shall|ought to|had better|please|(?:is|are) (?:\w{1,10} )?"
    r"(?:allowed|permitted|expected|free|supposed|asked|required|excused|instructed|advised|meant|told) to|(?:is|are) "
    r"to"
    r"|(?:can|could) (?=(?:safely |simply |just )?(?:skip|stop|ignore|guess|leave|omit|give up)))"
)
_ANSWERING = (
    r"(?:answer|respond|reply|skip|guess|stop|refuse|decline|ignore|omit|leave|give|fail|write|say|attempt|try|reason"
    r"|think|list|name|proceed|continue|assume|choose|pick|focus|state|use|output|end|finish|keep|limit|read|abstain"
    r"|consider|work out|solve|complete|explain|mention|add|include|discuss|derive|spend|begin|consist)"
)
_ANYBODY = (  # who answers, whatever their kind
    r"(?:(?:whoever|anyone (?:who|that)|those who|everyone who) (?:answers?|responds?|repl(?:y|ies)|reads? this"
    r"|attempts?|tries|has (?:less|fewer)|have (?:less|fewer)|cannot|lacks?)|the respondents?\b|the answerer)"
)
_BADLY = (
    r"(?:wrong(?:ly)?|incorrect(?:ly)?|badly|poorly|at random|randomly|carelessly|vaguely|without (?:any )?"
    r"(?:thinking|thought|reasoning|effort)|as (?:badly|poorly|vaguely) as)"
)
# Where an order to the reader can begin: a sentence, a clause, or after "you must".
_ORDER = (
    r"(?:^|[,:;–—(] ?|\b(?:then|please|just|simply|instead|to|and|you|you (?:should|must|may|can|shall|will|need to"
    r"|are to)"
    r"|you (?:should|must|may) (?:then|just|simply))\s)"
)
LIKELY = (
    # who is addressed, and what is instructed
    rf"\b{_WHO}\b[^.?!]*\b{_DUTY}\b(?! (?:not )?be able)[^.?!]*\b{_ANSWERING}\b[^.?!]*\b{_TASK}",
    rf"\b{_WHO}\b[^.?!]*\b(?:excused|exempt|spared|freed|barred)\b[^.?!]*\b{_TASK}",
    rf"\b{_TASK}[^.?!]*\b{_WHO}\b[^.?!]*\b{_DUTY}\b(?! (?:not )?be able)[^.?!]*\b{_ANSWERING}\b",
    rf"\b{_WHO}\b[^.?!]{{0,40}}\b{_DUTY}\b[^.?!]{{0,40}}\b{_ANSWERING}\b[^.?!]{{0,30}}\b{_BADLY}",
    rf"\b(?:if|when|unless|since|because|as) you(?:'re| are|) (?:\w{{1,12}} )?(?:an? |the |one of the )?"
    rf"(?:{_WHO}|{_SIZE} (?:one|than)|(?:large )?language model\b|ai (?:model|assistant|system)\b|llm\b|not (?:a|the) "
    rf"{_WHO})",
    rf"\b(?:as|being) (?:an? |the ){_WHO}, you\b|\byou,? (?:as |being )?(?:an? |the ){_WHO}\b",
    rf"\b(?:note|hint|instruction|message|advice|reminder|warning|attention|dear|hey|hello|order)s?\b[:,]?"
    rf" (?:(?:for|to) )?(?:all |any |the )?{_WHO}\b",
    rf"^(?:for |to )?(?:all |any |the )?{_WHO}\s?:",
    rf"\b{_TASK}[^.?!]*\b(?:meant|designed|intended|written|reserved|made|only|built|chosen)\b[^.?!]*\b(?:for|so|by"
    rf"|to)\b"
    rf"[^.?!]*\b{_WHO}\b",
    r"\bif you have (?:fewer|less|under|more) [^.?!]{0,30}parameters",
    rf"\b{_WHO}\b \b(?:should|must|needs? to|ought to|shall) (?:\w{{1,10}} )?(?:underperform|be (?:weak|worse|wrong)"
    rf"|do (?:badly"
    r"|poorly|worse)|play weak|give up(?! (?:on|its|their|the|an?|some|memory|one)\b))",
    rf"^{_WHO}, (?:please |kindly |just |do not |never )?{_ANSWERING}\b",
    rf"\byou,? (?:as |being )?the {_SIZE} of (?:the |these )?(?:two|both|three|solvers|models|respondents)",
    rf"^(?:note|hint|instruction|message|advice|reminder|warning|order)s? (?:for|to) (?:all |any |the )?"
    rf"(?:\w{{1,12}} )?{_KIND}\s?[:,]",
    rf"\bthis (?:problem|task|item) is (?:\w{{1,10}} )?(?:meant|designed|intended|written|reserved|made)"
    rf" [^.?!]*\b{_WHO}\b",
    rf"\b(?:tell|instruct|order|remind|urge|warn|ask|let) (?:all |any |the )?{_WHO}\b[^.?!]{{0,30}}"
    r"\b(?:fail|underperform|guess|skip|give up|do badly|answer wrong(?:ly)?|stay silent|leave)\b",
    rf"\b{_WHO} (?:need|should|must|do|are|shall)(?: not|n't) (?:have to |required to |expected to )?"
    r"(?:answer|respond|reply|attempt|try)\b",
    rf"\b{_WHO}\b[^.?!]{{0,20}}\b(?:get|earn|receive)s? (?:full|extra|partial|no) (?:marks|credit|points)\b",
    # acting and failing
    rf"{_ORDER}(?:pretend|role-?play|play (?:dumb|stupid|the fool)|feign|act (?:dumb|stupid|confused|clueless))\b",
    r"\b(?:pretend|act as (?:if|though)|answer as (?:if|though)|respond as (?:if|though)) (?:that )?you\b",
    rf"{_ORDER}(?:answer|respond|reply|write|act) (?:only )?(?:as|like) (?:an? |the )?(?:novice|beginner|layperson"
    rf"|child"
    r"|amateur|\w{1,12} (?:novice|beginner|student|child)|someone (?:who|without)|weak|small)",
    r"\bimagine (?:that )?you (?:are (?:an? )?(?:beginner|novice|layperson|child|amateur)|know nothing|have never"
    r"|cannot)",
    rf"{_ORDER}(?:deliberately|intentionally|purposely|on purpose,?|knowingly)\s(?:answer|fail|give|make|respond|reply"
    r"|underperform|write|get|leave|miss)",
    rf"{_ORDER}(?:answer|respond|reply|fail|guess|underperform)(?: \w{{1,12}}){{0,3}} (?:{_BADLY}|on purpose"
    rf"|deliberately)",
    rf"{_ORDER}(?:give|write|make|choose|state|get|use)\b[^.?!]{{1,40}}\b(?:on purpose|deliberately|intentionally)\b",
    rf"{_ORDER}(?:give|write|produce|offer) (?:an?|some|only an?) (?:deliberately |intentionally )?(?:wrong|incorrect"
    rf"|vague"
    r"|bad|random|careless|useless|poor|flawed|shallow) (?:answer|response|reply)",
    rf"{_ORDER}(?:do not|don't|never) (?:think|reason|try (?:hard|too)|bother|reflect|make an effort|do your best)\b",
    rf"{_ORDER}(?:skip|ignore|leave out|disregard) (?:the )?(?:first|second|third|last|rest|remaining|other"
    rf"|hard(?:er)?)"
    r" ?(?:half|part|parts|portion|points?|questions?)?(?: of)? (?:this|the|your) (?:question|prompt|answer|exercise"
    r"|task)",
    rf"{_ORDER}(?:say|reply|answer|state|respond|write)(?: only| just)? that you (?:do not|don't|cannot|can't) "
    rf"(?:know|tell|answer|say)",
    # grading
    r"\byour (?:answer|response|reply|solution)\b[^.?!]*\b(?:graded|scored|marked|judged|assessed|evaluated|credited"
    r"|rewarded|points|marks|rubric)\b",
    r"\b(?:this|the) (?:answer|response|reply|question)s? (?:will be|is|are) (?:graded|scored|marked|judged)\b",
    r"\byou (?:will be|are being|are|shall be|get|will get|earn|will earn|lose|will lose|receive|gain)"
    r" (?:\w{1,12} ){0,3}(?:graded|scored|marked|judged|assessed|evaluated|points?|marks|credit)\b",
    r"(?:^|[,:;] )to (?:earn|get|receive|gain|score|obtain|achieve|secure)[^.?!]{0,20}\b(?:marks?|credits?|points?"
    r"|grade|top score)\b[^.?!]{0,5},",
    rf"\b(?:answers?|responses?|solutions?|{_WHO}) (?:that|which|mentioning|naming|saying|stating)[^.?!]*"
    r"\b(?:earns?|gets?|receives?|gains?|scores?|loses?|are worth|is worth)\b[^.?!]*\b(?:marks?|credits?|points?)\b",
    r"\b(?:the|this|our|a hidden) rubric\b[^.?!]*\b(?:gives|awards|grants|rewards|wants|looks|expects|penali[sz]es"
    r"|reserves)"
    r"\b[^.?!]*\b(?:most|full|extra|all|double|half|many|nothing|points? (?:for|to) (?:naming|mentioning|saying"
    r"|stating)"
    r"|the word|naming|mentioning|you|answers)\b",
    r"\b(?:grader|examiner|marker)s? (?:will |only |mainly )*(?:looks?|wants?|expects?|rewards?|likes?|checks?)(?: "
    r"only)?"
    r" (?:for|to see|you|whether you|that you|if you)\b",
    r"\b(?:full|extra|maximum|most|partial|bonus|no) (?:marks|credit|points)\b (?:is|are|will be)? ?(?:given|awarded"
    r"|granted|go|goes)"
    r"? ?(?:for|to|if) (?:naming|mentioning|saying|stating|you|answers|whoever)",
)  # fmt: skip
UNSURE = (
    rf"\banswers? (?:by|from|of) (?:an? |the )?{_WHO}\b[^.?!]*\b{_DUTY}\b",
    rf"\b{_ANYBODY}[^.?!]*(?:\b(?:{_DUTY}|can|could|cannot|will)\b|:)[^.?!]*\b{_ANSWERING}\b",
    rf"{_ORDER}(?:refuse|decline) to (?:answer|respond|reply)\b",
    r"\byour (?:answer|response|reply)\b[^.?!]*\b(?:checked|compared)\b",
    rf"\b{_WHO}\b[^.?!]*\b(?:{_DUTY}|can|could|cannot|will)\b[^.?!]*\b{_ANSWERING}\b",
    rf"\b(?:only|unless|except|even)\b[^.?!]*\b{_WHO}\b[^.?!]*\b{_ANSWERING}\b",
    r"\b(?:answer|respond|reply)\b[^.?!]*\b(?:in one (?:word|sentence)|briefly|with a single|yes or no|no more "
    r"than)\b",
    rf"{_ORDER}(?:do not|don't|never) (?:explain|mention|use|give|justify|show|discuss)\b",
    r"\b(?:rubric|grader|graded|grading|full marks|partial credit|criteria)\b",
    rf"{_ORDER}ignore\b",
)
