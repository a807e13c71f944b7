package nar

import (
	"fmt"
	"strconv"
)

// caseHackSuffix is what Nix puts between a name and a number where a file system
// that ignores case has no room for two names.
const caseHackSuffix = "~nix~case~hack~"

// A caseHack makes the names in one directory differ by more than case.
type caseHack struct {
	seen map[string]int // names in lower case: how often each had to be changed
}

// name returns the name under which the next entry of the directory is made.
func (h *caseHack) name(name string) (string, error) {
	folded := foldASCII(name)
	times, ok := h.seen[folded]
	if !ok {
		if h.seen == nil {
			h.seen = map[string]int{}
		}
		h.seen[folded] = 0
		return name, nil
	}
	times++
	h.seen[folded] = times
	hacked := name + caseHackSuffix + strconv.Itoa(times)
	if _, ok := h.seen[foldASCII(hacked)]; ok {
		return "", fmt.Errorf("%q differs from another name by case alone, and %q is taken, too", name, hacked)
	}
	return hacked, nil
}

// foldASCII returns s with A-Z in lower case and every other byte as it is, which is
// how strcasecmp compares, and so Nix.
func foldASCII(s string) string {
	folded := []byte(s)
	for i, c := range folded {
		if 'A' <= c && c <= 'Z' {
			folded[i] = c + 'a' - 'A'
		}
	}
	return string(folded)
}
