"""How threads share a program: they take pieces of its loops, and wait for work rather than for each other.

A program runs in phases. In each phase every thread goes through the same functions; of a loop it takes pieces until
none is left. The phase is over when all pieces of all its loops are done, whoever did them: a thread that something
else holds up is not waited for, unless it is in the middle of a piece, and when it is back it passes over what is over.

The first thread, the caller's, leads: it opens a door, runs the program, closes the door and waits for those inside.
The others stand in the lobby and look at the door: who finds it open in time comes in. Nobody who is not inside touches
a program or its memory. Who has found nothing for a while lies down, and is woken when a door is opened.

A loop's steps are shared out equally. A thread takes its share in a few pieces, then helps the others with theirs: a
loop of any length costs few visits, and nobody waits long for the last piece. What a thread counts with stands in cache
lines of its own.

Which thread does a piece changes no result: no two pieces write one cell, and no sum is cut by pieces.
"""

from __future__ import annotations

from pellucid.emit.targets import Target

__all__ = [
    "BOARD_WORDS",
    "CALLS_WORD",
    "CONDITION_WORD",
    "CROWDED_WORD",
    "LEAD",
    "LOBBY",
    "LOOPS",
    "MUTEX_WORD",
    "OVER_WORD",
    "PAIR",
    "YIELD_WORD",
    "meeting",
    "record_words",
]

# The C names of what the first thread calls, and the others:
# `void lead(ptr board, ptr record, ptr program, ptr args, i64 threads, ptr errors, i64 run)`, where `run` is above 0
# and new each time, and `void lobby(ptr board, i64 thread)`, which a thread leaves when the pool is over.
LEAD, LOBBY = "lead", "lobby"
# The type of what is given in pairs: the first step taken and how many; how many are done, of how many.
PAIR = "{ i64, i64 }"
# The board of a pool, in words of 8 bytes:
#   0  the record of the run that was opened last
#   1  the address of sched_yield where the pool has more threads than there are processors, else 0
#   2  1 when the pool is over           3  how many threads lie down
#   4  the addresses of pthread_mutex_lock and _unlock, pthread_cond_wait and _broadcast
#   8  the mutex under which threads lie down      16  the condition by which they are woken
BOARD_WORDS, CROWDED_WORD, OVER_WORD, CALLS_WORD, MUTEX_WORD, CONDITION_WORD = 24, 1, 2, 4, 8, 16
# The record of the threads that run programs together, in words of 8 bytes, what many write 64 bytes apart:
#   0  the door: the number of the run that is going on, above how many other threads are in it; 0 when it is closed
#   1  what they run, its arguments, its errors, the number of threads
#   8  how many of them are through with it  16  the phases that are over    24  the address of sched_yield
#  32  loops done in this phase, the loops of the longest phase
#  40  rows: for every loop of a phase its steps done; then a row for each thread, for every loop the steps
#      taken of its share, below the phase that they count for
# The first loop stands for all of a phase that has no steps but parts, one for each thread; LOOPS others have steps.
LOOPS, YIELD_WORD, _LOOP_WORD = 32, 24, 40
# A row's counters, LOOPS and one, and a gap: from the last of a row to the first of the next it is a whole cache line:
# no line holds counters of two rows, wherever the record begins.
_ROW_WORDS = LOOPS + 8
# Pieces of a share: of 32 to a share, small loops took longer. Each time half of what is left was no faster: who comes
# first then takes more of the others' shares, whose data is in their caches.
_PIECES = 8
# Bits of the door that count threads, and of a thread's counter that count steps.
_DOOR_BITS, _STEP_BITS = 16, 40
# Some 30 microseconds: longer than threads of one program are apart, shorter than a time slice. Yielding at once would
# give a whole slice away to whatever else spins, another framework's idle workers for one.
_SPINS = 1000
# Looks at the door before a thread lies down, some 90 microseconds: longer than a loop over batches is between
# two steps; to be woken takes 50. Where threads crowd the processors, those after `_SPINS` have a yield between them.
# Elsewhere who yields gives its place to another program's spinning thread, time slice after time slice: behind a step
# of PyTorch the second thread missed every step of LeNet-5 so.
_LOOKS = 3000

_FUNCTIONS = """
define internal ptr @loop(ptr %record, i64 %number) {
  %word = add i64 %number, LOOP_WORD
  %found = getelementptr i64, ptr %record, i64 %word
  ret ptr %found
}

define internal i1 @is_over(ptr %record, i64 %threads, i64 %phase) {
entry:
  %alone = icmp eq i64 %threads, 1
  br i1 %alone, label %no, label %look
look:
  %gate = getelementptr i64, ptr %record, i64 16
  %over = load atomic i64, ptr %gate acquire, align 8
  %is = icmp uge i64 %over, %phase
  ret i1 %is
no:
  ret i1 false
}

; The next steps of a loop for this thread: the first and how many, 0 when none are left; `done` is how many it did.
; Each begins with its own equal share, whose results it finds in its own cache at the next loop, and then helps the
; others.
define internal PAIR @take(ptr %loop, i64 %phase, i64 %thread, i64 %threads, i64 %steps, i64 %done) noinline {
entry:
  %alone = icmp eq i64 %threads, 1
  br i1 %alone, label %all, label %ask
all:
  %rest = sub i64 %steps, %done
  %whole = insertvalue PAIR { i64 0, i64 undef }, i64 %rest, 1
  ret PAIR %whole
ask:
  %asked = phi i64 [ 0, %entry ], [ %more, %refused ]
  %place = add i64 %thread, %asked
  %owner = urem i64 %place, %threads
  %scaled_low = mul i64 %steps, %owner
  %low = udiv i64 %scaled_low, %threads
  %scaled_high = add i64 %scaled_low, %steps
  %high = udiv i64 %scaled_high, %threads
  %row = add i64 %owner, 1
  %word = mul i64 %row, ROW_WORDS
  %counter = getelementptr i64, ptr %loop, i64 %word
  %first = load atomic i64, ptr %counter monotonic, align 8
  br label %try
try:
  %seen = phi i64 [ %first, %ask ], [ %changed, %swap ]
  %counted_for = lshr i64 %seen, STEP_BITS
  %late = icmp ugt i64 %counted_for, %phase
  br i1 %late, label %none, label %count
count:
  %current = icmp eq i64 %counted_for, %phase
  %mark = shl i64 %phase, STEP_BITS
  %counted = sub i64 %seen, %mark
  %taken = select i1 %current, i64 %counted, i64 0
  %first_step = add i64 %low, %taken
  %left = sub i64 %high, %first_step
  %some = icmp sgt i64 %left, 0
  br i1 %some, label %swap, label %refused
swap:
  %share = sub i64 %high, %low
  %rounded = add i64 %share, PIECES_LESS_1
  %equal = udiv i64 %rounded, PIECES
  %is_less = icmp slt i64 %left, %equal
  %piece = select i1 %is_less, i64 %left, i64 %equal
  %marked = add i64 %mark, %taken
  %new = add i64 %marked, %piece
  %pair = cmpxchg ptr %counter, i64 %seen, i64 %new monotonic monotonic
  %changed = extractvalue { i64, i1 } %pair, 0
  %mine = extractvalue { i64, i1 } %pair, 1
  br i1 %mine, label %got, label %try
got:
  %from = insertvalue PAIR undef, i64 %first_step, 0
  %got_steps = insertvalue PAIR %from, i64 %piece, 1
  ret PAIR %got_steps
refused:
  %more = add i64 %asked, 1
  %others = icmp ult i64 %more, %threads
  br i1 %others, label %ask, label %none
none:
  ret PAIR zeroinitializer
}

; This thread did `done` steps of a loop of `steps`; with the last step of the last of `loops` the phase is over.
define internal void @count(
  ptr %record, ptr %loop, i64 %threads, i64 %done, i64 %steps, i64 %loops, i64 %phase
) noinline {
entry:
  %alone = icmp eq i64 %threads, 1
  %nothing = icmp eq i64 %done, 0
  %skip = or i1 %alone, %nothing
  br i1 %skip, label %return, label %add
add:
  %others = atomicrmw add ptr %loop, i64 %done acq_rel
  %sum = add i64 %others, %done
  %whole = icmp eq i64 %sum, %steps
  br i1 %whole, label %loop_done, label %return
loop_done:
  store atomic i64 0, ptr %loop monotonic, align 8
  %finished = getelementptr i64, ptr %record, i64 32
  %before = atomicrmw add ptr %finished, i64 1 acq_rel
  %now = add i64 %before, 1
  %last = icmp eq i64 %now, %loops
  br i1 %last, label %open, label %return
open:
  store atomic i64 0, ptr %finished monotonic, align 8
  %gate = getelementptr i64, ptr %record, i64 16
  store atomic i64 %phase, ptr %gate release, align 8
  br label %return
return:
  ret void
}

; Wait until a word of the record is `least` or more: spin, then give the processor away at every turn, since there may
; be more threads than processors.
define internal void @wait(ptr %record, ptr %word, i64 %least) noinline {
entry:
  br label %look
look:
  %turns = phi i64 [ 0, %entry ], [ %more, %again ]
  %now = load atomic i64, ptr %word acquire, align 8
  %open = icmp uge i64 %now, %least
  br i1 %open, label %done, label %closed
closed:
  %patient = icmp ult i64 %turns, SPINS
  br i1 %patient, label %again, label %give
give:
  %slot = getelementptr i64, ptr %record, i64 YIELD_WORD
  %yield = load ptr, ptr %slot, align 8
  %ignored = call i32 %yield()
  br label %again
again:
  PAUSE
  %more = add i64 %turns, 1
  br label %look
done:
  ret void
}

define internal void @end_phase(ptr %record, i64 %threads, i64 %phase) {
entry:
  %alone = icmp eq i64 %threads, 1
  br i1 %alone, label %done, label %meet
meet:
  %gate = getelementptr i64, ptr %record, i64 16
  call void @wait(ptr %record, ptr %gate, i64 %phase)
  br label %done
done:
  ret void
}

; What `lead` must clear when a program is over.
define internal void @has_loops(ptr %record, i64 %threads, i64 %loops) {
entry:
  %alone = icmp eq i64 %threads, 1
  br i1 %alone, label %done, label %note
note:
  %word = getelementptr i64, ptr %record, i64 33
  store atomic i64 %loops, ptr %word monotonic, align 8
  br label %done
done:
  ret void
}

define void @lead(ptr %board, ptr %record, ptr %program, ptr %args, i64 %threads, ptr %errors, i64 %run) {
entry:
  %word1 = getelementptr i64, ptr %record, i64 1
  %word2 = getelementptr i64, ptr %record, i64 2
  %word3 = getelementptr i64, ptr %record, i64 3
  %word4 = getelementptr i64, ptr %record, i64 4
  store atomic ptr %program, ptr %word1 monotonic, align 8
  store atomic ptr %args, ptr %word2 monotonic, align 8
  store atomic ptr %errors, ptr %word3 monotonic, align 8
  store atomic i64 %threads, ptr %word4 monotonic, align 8
  store atomic ptr %record, ptr %board release, align 8
  %open = shl i64 %run, DOOR_BITS
  store atomic i64 %open, ptr %record seq_cst, align 8
  ; Who lies down says so and looks at the door once more; so it is seen here, or sees that.
  %resting = getelementptr i64, ptr %board, i64 3
  %asleep = load atomic i64, ptr %resting seq_cst, align 8
  %none = icmp eq i64 %asleep, 0
  br i1 %none, label %run_it, label %wake
wake:
  %mutex = getelementptr i64, ptr %board, i64 MUTEX_WORD
  %condition = getelementptr i64, ptr %board, i64 CONDITION_WORD
  %ignored_locked = call i32 @ask(ptr %board, i64 0, ptr %mutex, ptr null)
  %ignored_woken = call i32 @ask(ptr %board, i64 3, ptr %condition, ptr null)
  %ignored_unlocked = call i32 @ask(ptr %board, i64 1, ptr %mutex, ptr null)
  br label %run_it
run_it:
  call void %program(ptr %args, i64 0, i64 %threads, ptr %record, ptr %errors)
  %door = atomicrmw xchg ptr %record, i64 0 acq_rel
  %others = sub i64 %door, %open
  %through = getelementptr i64, ptr %record, i64 8
  call void @wait(ptr %record, ptr %through, i64 %others)
  store atomic i64 0, ptr %through monotonic, align 8
  %gate = getelementptr i64, ptr %record, i64 16
  store atomic i64 0, ptr %gate monotonic, align 8
  %most = getelementptr i64, ptr %record, i64 33
  %loops = load atomic i64, ptr %most monotonic, align 8
  br label %clear
clear:
  %row = phi i64 [ 0, %run_it ], [ %next_row, %cleared ]
  %skipped = mul i64 %row, ROW_WORDS
  %word = add i64 %skipped, LOOP_WORD
  %counters = getelementptr i64, ptr %record, i64 %word
  br label %clear_word
clear_word:
  %number = phi i64 [ 0, %clear ], [ %next, %clear_word ]
  %counter = getelementptr i64, ptr %counters, i64 %number
  store i64 0, ptr %counter, align 8
  %next = add i64 %number, 1
  %left = icmp ult i64 %next, %loops
  br i1 %left, label %clear_word, label %cleared
cleared:
  %next_row = add i64 %row, 1
  %rows_left = icmp ule i64 %next_row, %threads
  br i1 %rows_left, label %clear, label %done
done:
  ret void
}

; The word of an open door by which this thread may come in: that of another run than `seen`, of which the thread is one
; of the threads. Else 0.
define internal i64 @invited(ptr %board, i64 %thread, i64 %seen) {
entry:
  %record = load atomic ptr, ptr %board acquire, align 8
  %exists = icmp ne ptr %record, null
  br i1 %exists, label %door, label %no
door:
  %found = load atomic i64, ptr %record seq_cst, align 8
  %run = lshr i64 %found, DOOR_BITS
  %new = icmp ne i64 %run, %seen
  %word4 = getelementptr i64, ptr %record, i64 4
  %threads = load atomic i64, ptr %word4 monotonic, align 8
  %mine = icmp ult i64 %thread, %threads
  %may = and i1 %new, %mine
  br i1 %may, label %yes, label %no
yes:
  ret i64 %found
no:
  ret i64 0
}

; A function of the system's, by its place on the board.
define internal i32 @ask(ptr %board, i64 %which, ptr %one, ptr %two) noinline {
  %word = add i64 %which, CALLS_WORD
  %slot = getelementptr i64, ptr %board, i64 %word
  %function = load ptr, ptr %slot, align 8
  %result = call i32 %function(ptr %one, ptr %two)
  ret i32 %result
}

define void @lobby(ptr %board, i64 %thread) {
entry:
  br label %look
look:
  %seen = phi i64 [ 0, %entry ], [ %seen, %again ], [ %run, %in ], [ %seen, %up ]
  %looks = phi i64 [ 0, %entry ], [ %more, %again ], [ 0, %in ], [ 0, %up ]
  %found = call i64 @invited(ptr %board, i64 %thread, i64 %seen)
  %run = lshr i64 %found, DOOR_BITS
  %called = icmp ne i64 %run, 0
  br i1 %called, label %try, label %idle
try:
  ; Should the record be another one by now, its door's word is another, too: no two runs have one number.
  %record = load atomic ptr, ptr %board acquire, align 8
  %one_more = add i64 %found, 1
  %pair = cmpxchg ptr %record, i64 %found, i64 %one_more acquire monotonic
  %counted = extractvalue { i64, i1 } %pair, 1
  br i1 %counted, label %in, label %idle
in:
  %word1 = getelementptr i64, ptr %record, i64 1
  %word2 = getelementptr i64, ptr %record, i64 2
  %word3 = getelementptr i64, ptr %record, i64 3
  %word4 = getelementptr i64, ptr %record, i64 4
  %program = load atomic ptr, ptr %word1 monotonic, align 8
  %args = load atomic ptr, ptr %word2 monotonic, align 8
  %errors = load atomic ptr, ptr %word3 monotonic, align 8
  %threads = load atomic i64, ptr %word4 monotonic, align 8
  call void %program(ptr %args, i64 %thread, i64 %threads, ptr %record, ptr %errors)
  %through = getelementptr i64, ptr %record, i64 8
  %ignored = atomicrmw add ptr %through, i64 1 release
  br label %look
idle:
  %more = add i64 %looks, 1
  %leaves = icmp uge i64 %more, LOOKS
  br i1 %leaves, label %down, label %stay
stay:
  %slot = getelementptr i64, ptr %board, i64 CROWDED_WORD
  %yield = load ptr, ptr %slot, align 8
  %crowded = icmp ne ptr %yield, null
  %tired = icmp uge i64 %more, SPINS
  %gives = and i1 %crowded, %tired
  br i1 %gives, label %give, label %again
give:
  %nothing = call i32 %yield()
  br label %again
again:
  PAUSE
  br label %look
down:
  %mutex = getelementptr i64, ptr %board, i64 MUTEX_WORD
  %condition = getelementptr i64, ptr %board, i64 CONDITION_WORD
  %resting = getelementptr i64, ptr %board, i64 3
  %over_word = getelementptr i64, ptr %board, i64 OVER_WORD
  %ignored_locked = call i32 @ask(ptr %board, i64 0, ptr %mutex, ptr null)
  %ignored_count = atomicrmw add ptr %resting, i64 1 seq_cst
  br label %last_look
last_look:
  %over = load atomic i64, ptr %over_word acquire, align 8
  %is_over = icmp ne i64 %over, 0
  %next = call i64 @invited(ptr %board, i64 %thread, i64 %seen)
  %next_run = lshr i64 %next, DOOR_BITS
  %has_next = icmp ne i64 %next_run, 0
  %rises = or i1 %is_over, %has_next
  br i1 %rises, label %up, label %sleep
sleep:
  %ignored_woken = call i32 @ask(ptr %board, i64 2, ptr %condition, ptr %mutex)
  br label %last_look
up:
  %ignored_less = atomicrmw sub ptr %resting, i64 1 seq_cst
  %ignored_unlocked = call i32 @ask(ptr %board, i64 1, ptr %mutex, ptr null)
  br i1 %is_over, label %out, label %look
out:
  ret void
}
"""


def meeting(target: Target) -> str:
    """The functions by which the threads of a program share its work, as LLVM assembly."""
    pause = 'call void asm sideeffect "pause", ""()' if target.is_x86 else ""
    words = {
        "SPINS": _SPINS, "LOOKS": _LOOKS, "YIELD_WORD": YIELD_WORD, "LOOP_WORD": _LOOP_WORD, "DOOR_BITS": _DOOR_BITS,
        "STEP_BITS": _STEP_BITS, "ROW_WORDS": _ROW_WORDS, "PIECES_LESS_1": _PIECES - 1, "PIECES": _PIECES,
        "PAUSE": pause, "OVER_WORD": OVER_WORD, "CALLS_WORD": CALLS_WORD, "MUTEX_WORD": MUTEX_WORD,
        "CONDITION_WORD": CONDITION_WORD, "CROWDED_WORD": CROWDED_WORD, "PAIR": PAIR,
    }  # fmt: skip
    text = _FUNCTIONS
    for name, value in words.items():
        text = text.replace(name, str(value))
    return text


def record_words(threads: int) -> int:
    """The words of a record at which so many threads meet."""
    return _LOOP_WORD + _ROW_WORDS * (threads + 1)
