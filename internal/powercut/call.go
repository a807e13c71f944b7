package powercut

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// A call is a system call that has returned. began and ended are line numbers of the trace.
type call struct {
	name         string
	args         []string
	result       string
	began, ended int
}

// parseTrace returns the calls in a trace by strace -f, in the order in which they returned.
func parseTrace(text string) ([]call, error) {
	var calls []call
	unfinished := make(map[string]call) // by thread; the arguments so far are args[0]
	for n, line := range strings.Split(text, "\n") {
		pid, rest, _ := strings.Cut(line, " ")
		rest = strings.TrimLeft(rest, " ")
		if rest == "" || strings.HasPrefix(rest, "+++") || strings.HasPrefix(rest, "---") {
			continue
		}
		var c call
		if after, ok := strings.CutPrefix(rest, "<... "); ok {
			_, after, _ = strings.Cut(after, " resumed>")
			c, ok = unfinished[pid]
			if !ok {
				return nil, fmt.Errorf("line %d: nothing to resume", n+1)
			}
			delete(unfinished, pid)
			rest = c.args[0] + after
		} else {
			var ok bool
			if c.name, rest, ok = strings.Cut(rest, "("); !ok {
				return nil, fmt.Errorf("line %d: %s", n+1, shorten(line))
			}
			c.began = n
			if before, ok := strings.CutSuffix(rest, " <unfinished ...>"); ok {
				c.args = []string{before}
				unfinished[pid] = c
				continue
			}
		}
		c.ended = n
		if c.name == "close" {
			c.ended = c.began // another thread may get the descriptor before the call returns
		}
		equals := strings.LastIndex(rest, " = ")
		if equals < 0 {
			return nil, fmt.Errorf("line %d: %s", n+1, shorten(line))
		}
		c.result, _, _ = strings.Cut(rest[equals+3:], " ")
		args := strings.TrimRight(rest[:equals], " ")
		c.args = splitArgs(strings.TrimSuffix(args, ")"))
		calls = append(calls, c)
	}
	slices.SortStableFunc(calls, func(a, b call) int { return cmp.Compare(a.ended, b.ended) })
	return calls, nil
}

// splitArgs splits arguments at commas outside of strings and structs.
func splitArgs(text string) (args []string) {
	depth, quoted, start := 0, false, 0
	for i := range len(text) {
		switch c := text[i]; {
		case c == '"':
			quoted = !quoted // strings contain no quotes: strace prints every byte as \xNN
		case quoted:
		case c == '{' || c == '[':
			depth++
		case c == '}' || c == ']':
			depth--
		case c == ',' && depth == 0:
			args = append(args, strings.TrimSpace(text[start:i]))
			start = i + 1
		}
	}
	return append(args, strings.TrimSpace(text[start:]))
}

// ok reports whether the call succeeded.
func (c *call) ok() bool { return c.result != "?" && !strings.HasPrefix(c.result, "-") }

// returned returns the result of the call.
func (c *call) returned() int { return number(c.result) }

// arg returns a numeric argument.
func (c *call) arg(i int) int { return number(c.args[i]) }

// has reports whether an argument contains a flag.
func (c *call) has(i int, flag string) bool {
	return i < len(c.args) && slices.Contains(strings.Split(c.args[i], "|"), flag)
}

func number(text string) int {
	n, err := strconv.ParseInt(text, 0, 64)
	if err != nil {
		return -1
	}
	return int(n)
}

// unquote returns the bytes of a string argument.
func unquote(arg string) ([]byte, error) {
	text, ok := strings.CutPrefix(arg, `"`)
	if ok {
		text, ok = strings.CutSuffix(text, `"`)
	}
	if !ok {
		return nil, fmt.Errorf("not a complete string: %s", shorten(arg))
	}
	return hex.DecodeString(strings.ReplaceAll(text, `\x`, ""))
}
