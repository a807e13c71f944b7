package live

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"pix/activity"
	"pix/internal/termtest"
)

func TestSafeLine(t *testing.T) {
	for in, want := range map[string]string{
		"plain":                           "plain",
		"a\tb\nc":                         "a b c",
		"line\r\n":                        "line",
		"10%\r20%":                        "20%",
		"\x1b[1mbold\x1b[0m":              "bold",
		"\u009b31mred":                    "31mred",
		"left\u202eright":                 "leftright",
		"zero\u200bwidth\ufeff":           "zerowidth",
		"👩\u200d👩":                        "👩👩",
		"e\u0301":                         "e\u0301",
		"z\u0301\u0302\u0303\u0304\u0305": "z\u0301\u0302\u0303",
		"bad\xffbyte":                     "bad\ufffdbyte",
		"日本":                              "日本",
	} {
		if got := safeLine(in); got != want {
			t.Errorf("safeLine(%q) = %q, want %q", in, got, want)
		}
	}
	if got := safeLine(strings.Repeat("x", 1<<20)); len(got) != maxText {
		t.Errorf("a long line has %d bytes", len(got))
	}
}

func TestFit(t *testing.T) {
	st := Style{Unicode: true}
	for _, c := range []struct {
		in      string
		columns int
		want    string
	}{
		{"hello", 5, "hello"},
		{"hello", 4, "hel…"},
		{"hello", 1, "…"},
		{"日本語", 6, "日本語"},
		{"日本語", 5, "日本…"},
		{"日本語", 4, "日…"},
		{"e\u0301e\u0301e\u0301", 2, "e\u0301…"},
		{"a b c", 3, "a…"},
	} {
		if got := st.render(line{{c.in, plain}}, c.columns); got != c.want {
			t.Errorf("%q in %d columns is %q, want %q", c.in, c.columns, got, c.want)
		}
	}
	l := line{{"ab", plain}, {"cd", red}, {"ef", plain}}
	if got, want := (Style{Color: true}).render(l, 4), "ab\x1b[31mc~\x1b[0m"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestShortPaths(t *testing.T) {
	path := strings.TrimSuffix(drvOf("hello"), ".drv")
	for in, want := range map[string]string{
		"copying '" + path + "-2.1' from 'https://a-b.c'": "copying 'hello-2.1' from 'https://a-b.c'",
		path:                                    "hello",
		"no-path / at - all":                    "no-path / at - all",
		"two " + path + " " + path + "/bin/x-y": "two hello hello/bin/x-y",
	} {
		if got := shortPaths(in); got != want {
			t.Errorf("shortPaths(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestFormat(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0s", 59 * time.Second: "59s", 61 * time.Second: "1m01s", 3*time.Hour + 5*time.Minute: "3h05m", 100 * time.Hour: "100h00m",
	} {
		if got := formatDuration(d); got != want {
			t.Errorf("%v is %q, want %q", d, got, want)
		}
	}
	for n, want := range map[uint64]string{0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1<<20 - 1: "1.0 MiB", 1<<64 - 1: "16.0 EiB"} {
		if got := formatBytes(n); got != want {
			t.Errorf("%d is %q, want %q", n, got, want)
		}
	}
}

func TestParseFailure(t *testing.T) {
	drv := drvOf("x")
	for in, want := range map[string][]string{
		"":                               nil,
		"error: out of memory":           nil,
		"'" + drv + "' is a path":        nil,
		"error: '" + drv + "^out' no":    nil,
		"error: it's '" + drv:            nil,
		"error: quotes ' ' ' ' '":        nil,
		"builder for '" + drv + "' died": {"builder died"},
		"error: hash mismatch in fixed-output derivation '" + drv + "':\n  specified: a\n  got: b": {"hash mismatch in fixed-output derivation", "  specified: a", "  got: b"},
		"error: building of '" + drv + "' timed out":                                               {"building timed out"},
		"error: " + strings.Repeat("x\n", 50):                                                      nil,
	} {
		f, ok := parseFailure(in, false)
		if ok != (want != nil) || ok && !reflect.DeepEqual(f.reason, want) {
			t.Errorf("parseFailure(%q) = %q, %v", in, f.reason, ok)
		}
	}
}

// No text in a log line, phase or message breaks the view on a terminal.
func FuzzLines(f *testing.F) {
	f.Add("plain", "phase", uint8(80), uint8(24))
	f.Add("\x1b[2J\x1b[?1049h\u202e日本語\u0301\u200d🇩🇪", "\r\n\t", uint8(9), uint8(4))
	f.Fuzz(func(t *testing.T, text, phase string, columns, rows uint8) {
		w, h := int(columns)+2, int(rows)+2
		s := newScript()
		s.Logs = true
		s.build("a" + text)
		s.result("a"+text, activity.SetPhase, phase)
		s.logs("a"+text, text)
		s.start("other", activity.Unknown, "", text)
		s.log(text)
		s.build("b")
		lines := s.Lines(s.now, w-1, h-1, Style{Unicode: true, Color: true})
		term := termtest.NewScreen(w, h)
		var sc screen
		term.Write([]byte(sc.frame(s.Messages(s.now), lines, w, h)))
		if wrong := term.Unsupported(); wrong != nil {
			t.Fatalf("unsupported output %q", wrong)
		}
		if _, y, _ := term.Cursor(); len(lines) > 0 && y < len(lines)-1 {
			t.Fatalf("the cursor is in row %d after %d lines", y, len(lines))
		}
		s.Finish(nil, s.now)
		s.Summary(s.now, Style{})
	})
}
