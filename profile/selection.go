package profile

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// A Selection selects generations to delete. It never selects the current generation.
type Selection struct {
	kind    selectionKind
	numbers []uint64
	before  time.Time
	keep    uint64
}

type selectionKind uint8

const (
	selectNumbers selectionKind = iota // the zero Selection selects nothing
	selectOld
	selectOlder
	selectBeyond
)

// Numbers selects the generations with these numbers. Numbers without a generation are ignored, as in Nix. The current
// generation among them is a [*CurrentError].
func Numbers(n ...uint64) Selection { return Selection{kind: selectNumbers, numbers: slices.Clone(n)} }

// Old selects all generations except the current one, also newer ones.
func Old() Selection { return Selection{kind: selectOld} }

// OlderThan selects the generations that were created before t, except the newest of them: it was in use at t, so a user
// may want to roll back to it. It compares seconds, as Nix does.
func OlderThan(t time.Time) Selection { return Selection{kind: selectOlder, before: t} }

// KeepLast selects all generations except the current one, the n-1 generations before it, and newer ones. n must be at
// least 1.
func KeepLast(n uint64) Selection { return Selection{kind: selectBeyond, keep: n} }

// ParseSelection parses the arguments of 'nix-env --delete-generations': numbers of generations, or one of "old", "30d"
// (older than 30 days before now) and "+5" (keep the last 5).
func ParseSelection(words []string, now time.Time) (Selection, error) {
	if len(words) == 1 {
		switch word := words[0]; {
		case word == "old":
			return Old(), nil
		case strings.HasSuffix(word, "d"):
			t, err := ParseAge(word, now)
			return OlderThan(t), err
		case strings.HasPrefix(word, "+"):
			n, ok := parseNumber(word[1:])
			if !ok || n == 0 {
				return Selection{}, fmt.Errorf("'%s' is no number of generations to keep, such as +5, which is at least +1", word)
			}
			return KeepLast(n), nil
		}
	}
	numbers := make([]uint64, len(words))
	for i, word := range words {
		var ok bool
		if numbers[i], ok = parseNumber(word); !ok {
			return Selection{}, fmt.Errorf("'%s' is no number of a generation; expected numbers, old, an age such as 30d, or +5 to keep 5", word)
		}
	}
	return Numbers(numbers...), nil
}

// maxDays is the largest number of days that a time.Duration holds.
const maxDays = math.MaxInt64 / int64(24*time.Hour)

// ParseAge returns the time at an age such as "30d", a number of days, before now.
func ParseAge(age string, now time.Time) (time.Time, error) {
	digits, ok := strings.CutSuffix(age, "d")
	days, isNumber := parseNumber(digits)
	if !ok || !isNumber || days == 0 || days > uint64(maxDays) {
		return time.Time{}, fmt.Errorf("'%s' is no age: expected a number of days, such as 30d", age)
	}
	return now.Add(-time.Duration(days) * 24 * time.Hour), nil
}

// choose returns the selected generations of a profile. If it is not known which generation is in use, the error is a
// [*GenerationError].
func (sel Selection) choose(st *state) ([]Generation, error) {
	if sel.kind == selectNumbers {
		return sel.chooseNumbers(st)
	}
	current, err := st.currentIndex()
	if err != nil {
		return nil, err
	}
	all := st.generations
	var candidates []Generation
	switch sel.kind {
	case selectOld:
		candidates = all
	case selectBeyond:
		if sel.keep == 0 {
			return nil, fmt.Errorf("at least one generation of profile '%s' must be kept, the current one", st.profile.Link())
		}
		if sel.keep <= uint64(current) {
			candidates = all[:current+1-int(sel.keep)]
		}
	case selectOlder:
		candidates = sel.older(all)
	}
	return slices.DeleteFunc(slices.Clone(candidates), func(g Generation) bool { return g.Current }), nil
}

// older returns the generations that [OlderThan] selects. A clock that was changed can make a generation newer than the
// next one; Nix fails an assertion then.
func (sel Selection) older(all []Generation) (older []Generation) {
	for _, g := range all {
		if g.Created.Unix() < sel.before.Unix() {
			older = append(older, g)
		}
	}
	return older[:max(0, len(older)-1)]
}

func (sel Selection) chooseNumbers(st *state) (chosen []Generation, err error) {
	if st.target != "" && st.current == nil {
		_, err := st.currentIndex()
		return nil, err
	}
	for _, g := range st.generations {
		if !slices.Contains(sel.numbers, g.Number) {
			continue
		}
		if g.Current {
			return nil, &CurrentError{st.profile.Link(), g.Number}
		}
		chosen = append(chosen, g)
	}
	return chosen, nil
}
