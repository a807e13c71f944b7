package daemontest_test

import (
	"strings"
	"testing"

	"pix/protocol"
)

// sorted returns the lines of each connection and direction, without times, and with the pieces
// of an archive joined: pieces and the order of both directions vary. It omits bodies of
// requests: the part that is sent before an error arrives varies, too, and the replay checks
// them.
func sorted(t testing.TB, trace string) map[string][]string {
	t.Helper()
	said := make(map[string][]string)
	bodies := make(map[string][]byte)
	end := func(key string) {
		if b, ok := bodies[key]; ok {
			said[key] = append(said[key], protocol.TraceData(b, -1))
			delete(bodies, key)
		}
	}
	for line := range strings.Lines(trace) {
		if line[0] == '#' {
			continue
		}
		_, line, _ = strings.Cut(strings.TrimSpace(line), " ")
		i := strings.Index(line, " ") + 1
		i += strings.Index(line[i:], " ")
		key, text := line[:i], line[i+1:]
		if strings.HasPrefix(text, "body ") && strings.HasSuffix(key, "→") {
			continue
		}
		if strings.HasPrefix(text, "body ") {
			b, err := protocol.ParseTraceData(text)
			if err != nil {
				t.Fatal(err)
			}
			bodies[key] = append(bodies[key], b...)
			continue
		}
		end(key)
		said[key] = append(said[key], text)
	}
	for key := range bodies {
		end(key)
	}
	return said
}

// sameConversations fails unless two traces are the same. It ignores the daemon's lines if the
// client has not read all of them.
func sameConversations(t testing.TB, got, want string, heardOut bool) {
	t.Helper()
	g, w := sorted(t, got), sorted(t, want)
	for key, lines := range w {
		if heardOut || strings.HasSuffix(key, "→") {
			sameLines(t, "on "+key, g[key], lines)
		}
	}
	if len(g) != len(w) {
		t.Errorf("%d directions of connections instead of %d:\n%s", len(g), len(w), got)
	}
}

func sameLines(t testing.TB, what string, got, want []string) {
	t.Helper()
	for i := range max(len(got), len(want)) {
		if i >= len(got) || i >= len(want) || got[i] != want[i] {
			t.Errorf("%s, line %d of %d and %d:\n got  %s\n want %s", what, i+1, len(got), len(want), at(got, i), at(want, i))
			return
		}
	}
}

func at(lines []string, i int) string {
	if i < len(lines) {
		return lines[i]
	}
	return "nothing"
}
