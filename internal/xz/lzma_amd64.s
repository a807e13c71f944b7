#include "go_asm.h"
#include "textflag.h"

// See lzma_amd64.go. These registers keep their meaning between two symbols:
#define RANGE R8
#define CODE  R9
#define IN    R10 // the next byte of the input
#define BUF   DI  // window.buf
#define POS   SI  // in it
#define STATE R14
#define D     R15 // *lzma
#define SYM   AX  // the last byte of the window; within a tree, the node

// Within a symbol:
#define PROBS R11 // a tree, or one probability
#define PROB  BX
#define ONE   CX // the probability of the next node, if the bit is 1
#define ZERO  DX
#define BOUND R12
#define TMP   R13

#define REP0 (lzma_reps+0)(D)
#define REP1 (lzma_reps+4)(D)
#define REP2 (lzma_reps+8)(D)
#define REP3 (lzma_reps+12)(D)

// NORMALIZE reads another byte if the range is small. It is a branch, because with conditional moves each bit would wait for the
// comparison.
#define NORMALIZE \
	CMPL RANGE, $const_topRange \
	JCC  6(PC) \
	SHLL $8, RANGE \
	SHLL $8, CODE \
	MOVBLZX (IN), TMP \
	INCQ IN \
	ORL  TMP, CODE

// SPLIT assumes that the bit is 1. The carry flag is set if it is 0: then BOUND is the range, and TMP the code.
#define SPLIT \
	NORMALIZE \
	MOVL  RANGE, BOUND \
	SHRL  $const_probBits, BOUND \
	IMULL PROB, BOUND \
	SUBL  BOUND, RANGE \
	MOVL  CODE, TMP \
	SUBL  BOUND, CODE

// CHOOSE corrects the assumption of SPLIT, and adapts PROB. SYM becomes the next node.
#define CHOOSE(node) \
	CMOVLCS BOUND, RANGE \
	CMOVLCS TMP, CODE \
	LEAL    -const_adapt(PROB), TMP \
	CMOVLCC PROB, TMP \
	LEAL    (SYM)(SYM*1), BOUND \
	SBBL    $-1, BOUND \
	SARL    $const_moveBits, TMP \
	SUBL    TMP, PROB \
	MOVW    PROB, (PROBS)(node*2) \
	MOVL    BOUND, SYM

// ROOT begins a tree.
#define ROOT \
	MOVL    $1, SYM \
	MOVWLZX 2(PROBS), PROB

// NODE decodes a bit of a tree that is not the last. It loads the probabilities of both next nodes before the bit is known.
#define NODE \
	MOVWLZX (PROBS)(SYM*4), ZERO \
	MOVWLZX 2(PROBS)(SYM*4), ONE \
	SPLIT \
	CMOVLCS ZERO, ONE \
	CHOOSE(SYM) \
	MOVL    ONE, PROB

// LEAF decodes the last bit of a tree.
#define LEAF \
	SPLIT \
	CHOOSE(SYM)

#define TREE3 ROOT; NODE; NODE; LEAF
#define TREE4 ROOT; NODE; NODE; NODE; LEAF
#define TREE6 ROOT; NODE; NODE; NODE; NODE; NODE; LEAF
#define TREE8 ROOT; NODE; NODE; NODE; NODE; NODE; NODE; NODE; LEAF

// MATCHED decodes a bit of a byte after a match. CX has the byte that follows the match in the window. DX is 0x100 while its bits
// are the same, then 0. BUF and POS are overwritten.
#define MATCHED \
	ADDL    CX, CX \
	MOVL    CX, SI \
	ANDL    DX, SI \
	LEAL    (SYM)(DX*1), DI \
	ADDL    SI, DI \
	XORL    SI, DX \
	MOVWLZX (PROBS)(DI*2), PROB \
	SPLIT \
	CMOVLCC SI, DX \
	CHOOSE(DI)

// DECIDE decodes a bit, and jumps if it is 1. WASONE must follow at the label.
#define DECIDE(label) \
	MOVWLZX (PROBS), PROB \
	NORMALIZE \
	MOVL  RANGE, BOUND \
	SHRL  $const_probBits, BOUND \
	IMULL PROB, BOUND \
	CMPL  CODE, BOUND \
	JCC   label \
	MOVL  BOUND, RANGE \
	MOVL  $const_probOne, TMP \
	SUBL  PROB, TMP \
	SHRL  $const_moveBits, TMP \
	ADDL  TMP, PROB \
	MOVW  PROB, (PROBS)

#define WASONE \
	SUBL BOUND, RANGE \
	SUBL BOUND, CODE \
	MOVL PROB, TMP \
	SHRL $const_moveBits, TMP \
	SUBL TMP, PROB \
	MOVW PROB, (PROBS)

// POSSTATE sets CX.
#define POSSTATE \
	MOVL POS, CX \
	ANDL lzma_posMask(D), CX \
	ANDL $(const_posStates-1), CX

// AFTERMATCH sets the state after a match: after a literal, or after another match.
#define AFTERMATCH(literal, match) \
	CMPL    STATE, $const_literalState \
	MOVL    $literal, STATE \
	MOVL    $match, TMP \
	CMOVLCC TMP, STATE

// reversed has the numbers of 5 bits, with the last bit first.
DATA reversed<>+0(SB)/8, $0x1c0c140418081000
DATA reversed<>+8(SB)/8, $0x1e0e16061a0a1202
DATA reversed<>+16(SB)/8, $0x1d0d150519091101
DATA reversed<>+24(SB)/8, $0x1f0f17071b0b1303
GLOBL reversed<>(SB), RODATA|NOPTR, $32

// func decodeSymbols(d *lzma, w *window, limit, end uint, last uint32) (length uint)
TEXT ·decodeSymbols(SB), NOSPLIT, $64-48
	MOVQ d+0(FP), D
	MOVQ w+8(FP), BX
	MOVQ window_buf(BX), BUF
	MOVQ window_pos(BX), POS
	MOVQ window_ring(BX), CX
	MOVQ CX, ring-8(SP)
	MOVL (lzma_rc+rangeDecoder_size)(D), RANGE
	MOVL (lzma_rc+rangeDecoder_code)(D), CODE
	MOVQ (lzma_rc+rangeDecoder_in)(D), IN
	MOVQ end+24(FP), CX
	ADDQ IN, CX
	MOVQ CX, inEnd-16(SP)
	ADDQ (lzma_rc+rangeDecoder_pos)(D), IN
	MOVL lzma_state(D), STATE
	MOVL last+32(FP), SYM

next:
	CMPQ POS, limit+16(FP)
	JCC  done
	CMPQ IN, inEnd-16(SP)
	JHI  done
	POSSTATE
	MOVL STATE, DX
	SHLL $4, DX
	ADDL CX, DX
	LEAQ (lzma_model+model_match)(D)(DX*2), PROBS
	DECIDE(match)

	// The context of a literal.
	MOVBLZX SYM, SYM
	MOVL POS, TMP
	SHLL $8, TMP
	ADDL SYM, TMP
	ANDL lzma_literalMask(D), TMP
	MOVL lzma_lc(D), CX
	SHLL CX, TMP
	ANDL $((const_maxLiterals-1)<<8), TMP
	LEAL (TMP)(TMP*2), TMP
	LEAQ (lzma_model+model_literal)(D)(TMP*2), PROBS
	CMPL STATE, $const_literalState
	JCC  matched

	TREE8
	MOVB SYM, (BUF)(POS*1)
	INCQ POS
	XORL TMP, TMP
	SUBL $3, STATE
	CMOVLCS TMP, STATE
	JMP  next

matched:
	MOVL REP0, DX
	INCQ DX
	MOVQ POS, CX
	SUBQ DX, CX
	JCC  inRing
	ADDQ ring-8(SP), CX
inRing:
	XORL TMP, TMP
	CMPQ CX, ring-8(SP)
	CMOVQCC TMP, CX // not reached, since the distance was checked when it was decoded
	MOVBLZX (BUF)(CX*1), CX
	MOVQ BUF, buf-24(SP)
	MOVQ POS, pos-32(SP)
	MOVL $0x100, DX
	MOVL $1, SYM
	MATCHED
	MATCHED
	MATCHED
	MATCHED
	MATCHED
	MATCHED
	MATCHED
	MATCHED
	MOVQ buf-24(SP), BUF
	MOVQ pos-32(SP), POS
	MOVB SYM, (BUF)(POS*1)
	INCQ POS
	LEAL -3(STATE), TMP
	LEAL -6(STATE), CX
	CMPL STATE, $10
	MOVL TMP, STATE
	CMOVLCC CX, STATE
	JMP  next

match:
	WASONE
	LEAQ (lzma_model+model_rep)(D)(STATE*2), PROBS
	DECIDE(rep)
	MOVL REP2, CX
	MOVL REP1, DX
	MOVL REP0, TMP
	MOVL CX, REP3
	MOVL DX, REP2
	MOVL TMP, REP1
	AFTERMATCH(7, 10)
	LEAQ (lzma_model+model_matchLength)(D), CX
	MOVQ CX, lengths-40(SP)

length: // as rangeDecoder.length
	MOVQ lengths-40(SP), CX
	LEAQ lengthModel_choice(CX), PROBS
	DECIDE(lengthMid)
	POSSTATE
	SHLL $4, CX
	ADDQ lengths-40(SP), CX
	LEAQ lengthModel_low(CX), PROBS
	TREE3
	SUBL $(8-const_minMatch), SYM
	JMP  distance

lengthMid:
	WASONE
	MOVQ lengths-40(SP), CX
	LEAQ (lengthModel_choice+2)(CX), PROBS
	DECIDE(lengthHigh)
	POSSTATE
	SHLL $4, CX
	ADDQ lengths-40(SP), CX
	LEAQ lengthModel_mid(CX), PROBS
	TREE3
	SUBL $(8-const_minMatch-8), SYM
	JMP  distance

lengthHigh:
	WASONE
	MOVQ lengths-40(SP), CX
	LEAQ lengthModel_high(CX), PROBS
	TREE8
	SUBL $(256-const_minMatch-16), SYM

distance: // as rangeDecoder.distance
	MOVL SYM, length-48(SP)
	LEAQ (lzma_model+model_repLength)(D), CX
	CMPQ CX, lengths-40(SP)
	JEQ  copy
	LEAL -const_minMatch(SYM), CX
	MOVL $3, DX
	CMPL CX, DX
	CMOVLHI DX, CX
	SHLL $7, CX
	LEAQ (lzma_model+model_slot)(D)(CX*1), PROBS
	TREE6
	SUBL $64, SYM
	CMPL SYM, $4
	JCS  gotDistance
	MOVL SYM, CX
	SHRL $1, CX
	DECL CX
	MOVL SYM, DX
	ANDL $1, DX
	ORL  $2, DX
	CMPL SYM, $const_endOfModel
	JCC  direct

	MOVL CX, bits-56(SP)
	MOVL CX, left-52(SP)
	SHLL CX, DX
	MOVL DX, high-64(SP)
	SUBL SYM, DX
	LEAQ (lzma_model+model_special)(D)(DX*2), PROBS
	ROOT
	JMP  specialNext
specialNode:
	NODE
specialNext:
	DECL left-52(SP)
	JNE  specialNode
	LEAF
	MOVL $5, CX
	SUBL bits-56(SP), CX
	SHLL CX, SYM
	JMP  reverse

direct:
	MOVL DX, SYM
	LEAL -4(CX), PROB
directNext:
	NORMALIZE
	SHRL $1, RANGE
	MOVL CODE, BOUND
	LEAL (SYM)(SYM*1), TMP
	SUBL RANGE, CODE
	CMOVLCS BOUND, CODE
	SBBL $-1, TMP
	MOVL TMP, SYM
	DECL PROB
	JNE  directNext
	SHLL $4, SYM
	MOVL SYM, high-64(SP)
	LEAQ (lzma_model+model_align)(D), PROBS
	TREE4
	ADDL SYM, SYM

reverse:
	ANDL $31, SYM
	LEAQ reversed<>(SB), CX
	MOVBLZX (CX)(SYM*1), SYM
	ADDL high-64(SP), SYM

gotDistance:
	MOVL SYM, REP0

copy: // as window.repeat
	MOVL REP0, CX
	MOVL length-48(SP), DX
	MOVQ w+8(FP), BX
	CMPQ CX, window_reach(BX)
	JCC  slow
	LEAQ 1(CX), AX
	MOVQ POS, TMP
	SUBQ AX, TMP
	JCS  before
from:
	ADDQ BUF, TMP
	LEAQ (BUF)(POS*1), BX
	CMPL CX, $31
	JCS  near
	ADDQ DX, POS
copy32:
	MOVOU (TMP), X0
	MOVOU 16(TMP), X1
	MOVOU X0, (BX)
	MOVOU X1, 16(BX)
	ADDQ  $32, TMP
	ADDQ  $32, BX
	SUBQ  $32, DX
	JHI   copy32
	MOVBLZX -1(BUF)(POS*1), SYM
	JMP   next

near:
	CMPL DX, $1
	JEQ  copy1
	CMPL CX, $7
	JCS  slow
	ADDQ DX, POS
copy8:
	MOVQ (TMP), AX
	MOVQ AX, (BX)
	ADDQ $8, TMP
	ADDQ $8, BX
	SUBQ $8, DX
	JHI  copy8
	MOVBLZX -1(BUF)(POS*1), SYM
	JMP  next

copy1:
	MOVBLZX (TMP), SYM
	MOVB SYM, (BX)
	INCQ POS
	JMP  next

before: // the match begins at the end of the ring
	MOVQ window_full(BX), AX
	ADDQ POS, AX
	CMPQ CX, AX
	JCC  slow
	ADDQ ring-8(SP), TMP
	LEAQ (TMP)(DX*1), AX
	CMPQ AX, ring-8(SP)
	JHI  slow
	JMP  from

rep:
	WASONE
	LEAQ (lzma_model+model_rep0)(D)(STATE*2), PROBS
	DECIDE(rep1)
	LEAQ (lzma_model+model_longRep0)(D)(DX*2), PROBS // DX is as it was at next
	DECIDE(longRep)
	AFTERMATCH(9, 11)
	MOVL $1, length-48(SP)
	JMP  copy

rep1:
	WASONE
	LEAQ (lzma_model+model_rep1)(D)(STATE*2), PROBS
	DECIDE(rep2)
	MOVL REP1, CX
	JMP  moveRep1

rep2:
	WASONE
	LEAQ (lzma_model+model_rep2)(D)(STATE*2), PROBS
	DECIDE(rep3)
	MOVL REP2, CX
	JMP  moveRep2

rep3:
	WASONE
	MOVL REP3, CX
	MOVL REP2, DX
	MOVL DX, REP3
moveRep2:
	MOVL REP1, DX
	MOVL DX, REP2
moveRep1:
	MOVL REP0, DX
	MOVL DX, REP1
	MOVL CX, REP0
	JMP  repLength

longRep:
	WASONE
repLength:
	AFTERMATCH(8, 11)
	LEAQ (lzma_model+model_repLength)(D), CX
	MOVQ CX, lengths-40(SP)
	JMP  length

done:
	XORL DX, DX
slow:
	MOVQ w+8(FP), BX
	MOVQ POS, window_pos(BX)
	SUBQ (lzma_rc+rangeDecoder_in)(D), IN
	MOVQ IN, (lzma_rc+rangeDecoder_pos)(D)
	MOVL RANGE, (lzma_rc+rangeDecoder_size)(D)
	MOVL CODE, (lzma_rc+rangeDecoder_code)(D)
	MOVL STATE, lzma_state(D)
	MOVQ DX, length+40(FP)
	RET
