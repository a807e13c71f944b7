package live

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"pix/internal/termtest"
)

// drawFrame draws a frame on a terminal, and checks that its last lines are the view.
func drawFrame(t *testing.T, term *termtest.Screen, s *screen, messages, lines []string, columns, rows int) {
	t.Helper()
	term.Write([]byte(s.frame(messages, lines, columns, rows)))
	got := term.Lines()
	if len(got) < len(lines) || !slices.Equal(got[len(got)-len(lines):], lines) {
		t.Fatalf("the view\n%s\nis not at the end of\n%s", strings.Join(lines, "\n"), term)
	}
	if wrong := term.Unsupported(); wrong != nil || !term.Wraps() {
		t.Fatalf("unsupported output %q, wraps %v", wrong, term.Wraps())
	}
}

// After each frame the view is at the bottom, and all messages are above it, each once.
func TestScreen(t *testing.T) {
	for seed := range uint64(30) {
		random := rand.New(rand.NewPCG(seed, 0))
		columns, rows := 10+random.IntN(60), 3+random.IntN(20)
		term := termtest.NewScreen(columns, rows)
		term.Write([]byte("$ pix\r\n"))
		messagesSoFar := []string{"$ pix"}
		var s screen
		for i := range 50 {
			var messages, lines []string
			for j := range random.IntN(3) {
				messages = append(messages, fmt.Sprintf("m%d.%d%s", i, j, strings.Repeat(" word", random.IntN(30))))
			}
			for j := range random.IntN(rows) {
				l := fmt.Sprintf("v%d.%d%s", i, j, strings.Repeat("-", random.IntN(columns)))
				lines = append(lines, l[:min(len(l), columns-1)])
			}
			drawFrame(t, term, &s, messages, lines, columns, rows)
			messagesSoFar = append(messagesSoFar, messages...)
			if got := strings.Join(append(term.History(), term.Lines()...), ""); withoutSpaces(got) != withoutSpaces(strings.Join(messagesSoFar, "")+strings.Join(lines, "")) {
				t.Fatalf("seed %d: got\n%s\nwant\n%s", seed, got, strings.Join(messagesSoFar, "\n"))
			}
		}
		term.Write([]byte(s.leave(columns, rows)))
		if _, _, shown := term.Cursor(); !shown {
			t.Error("the cursor is hidden")
		}
		if got := strings.Join(append(term.History(), term.Lines()...), ""); withoutSpaces(got) != withoutSpaces(strings.Join(messagesSoFar, "")) {
			t.Fatalf("seed %d: at the end got\n%s", seed, got)
		}
	}
}

// withoutSpaces removes spaces, because those at the end of a wrapped line are lost.
func withoutSpaces(s string) string { return strings.ReplaceAll(s, " ", "") }

// After the terminal is resized, no part of an older view remains.
func TestScreenResized(t *testing.T) {
	view := func(mark string, columns, rows int) []string {
		var lines []string
		for i := range min(rows-1, 15) {
			l := fmt.Sprintf("%s line %d %s", mark, i, strings.Repeat("x", 30))
			lines = append(lines, l[:min(len(l), columns-1)])
		}
		return lines
	}
	for _, sizes := range [][][2]int{
		{{80, 24}, {80, 12}, {80, 24}},
		{{80, 24}, {40, 24}, {80, 24}},
		{{80, 24}, {30, 10}},
		{{80, 24}, {20, 5}},
		{{40, 10}, {80, 24}, {40, 10}},
		{{80, 10}, {80, 5}, {80, 4}, {80, 24}},
		{{80, 6}, {80, 50}, {80, 6}},
	} {
		t.Run(fmt.Sprint(sizes), func(t *testing.T) {
			term := termtest.NewScreen(sizes[0][0], sizes[0][1])
			term.Write([]byte("$ before\r\n$ pix\r\n"))
			var s screen
			for i, size := range sizes {
				if i > 0 {
					term.Resize(size[0], size[1])
				}
				mark := fmt.Sprint("view", i)
				for n := range 3 { // later frames must fit, too
					drawFrame(t, term, &s, nil, view(fmt.Sprint(mark, ".", n), size[0], size[1]), size[0], size[1])
				}
				for _, l := range term.Lines() {
					if strings.Contains(l, "line") && !strings.HasPrefix(l, mark) {
						t.Errorf("at %v a part of an older view is left:\n%s", size, term)
						break
					}
				}
			}
			all := append(term.History(), term.Lines()...)
			if !slices.Contains(all, "$ before") || !slices.Contains(all, "$ pix") {
				t.Errorf("earlier output is lost:\n%s", strings.Join(all, "\n"))
			}
		})
	}
}

func TestScreenUnchanged(t *testing.T) {
	var s screen
	lines := []string{"a", "b"}
	s.frame(nil, lines, 80, 24)
	if got := s.frame(nil, []string{"a", "b"}, 80, 24); got != "" {
		t.Errorf("an unchanged view is drawn again: %q", got)
	}
}
