package main

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"pix/activity"
)

// watchText runs 'pix watch' with an input that is not a terminal.
func watchText(input string) (stdout, stderr string, code int) {
	var out, errs bytes.Buffer
	code = run([]string{"watch"}, strings.NewReader(input), &out, &errs, func(string) string { return "" })
	return out.String(), errs.String(), code
}

func eventLine(e activity.Event) string {
	return string(activity.AppendJSON([]byte(activity.JSONPrefix), e)) + "\n"
}

func TestWatch(t *testing.T) {
	start := eventLine(activity.Start{ID: 1, Type: activity.Build, Fields: []activity.Field{activity.Text("/nix/store/x-a.drv"), activity.Text(""), activity.Number(1), activity.Number(1)}})
	line := eventLine(activity.Result{ID: 1, Type: activity.BuildLogLine, Fields: []activity.Field{activity.Text("compiling \x1b[2J")}})
	stop := eventLine(activity.Stop{ID: 1})
	failure := string(activity.AppendErrorJSON([]byte(activity.JSONPrefix), &activity.Error{Message: "no"})) + "\n"
	for name, c := range map[string]struct {
		input, stdout, stderr string
		code                  int
	}{
		"success":   {start + line + stop, "", "compiling ", exitYes},
		"passed on": {"/nix/store/x-out\n" + start + stop + "last", "/nix/store/x-out\nlast", "", exitYes},
		"error":     {start + stop + failure, "", "error: no", exitNo},
		"ended":     {start, "", "the input ended while a build was running", exitNo},
		"warning":   {eventLine(activity.Log{Level: activity.LevelWarn, Text: "warning: x"}), "", "warning: x", exitYes},
		"garbage":   {"@nix {\n@nix []\n@nix {\"action\":\"later\"}\n\x00\xff\n", "@nix {\n@nix []\n\x00\xff\n", "", exitYes},
		"empty":     {"", "", "", exitYes},
		"long":      {strings.Repeat("@nix ", 100_000) + "\n" + stop, strings.Repeat("@nix ", 100_000) + "\n", "", exitYes},
	} {
		stdout, stderr, code := watchText(c.input)
		if stdout != c.stdout || !strings.Contains(stderr, c.stderr) || strings.Contains(stderr, "\x1b") || code != c.code {
			t.Errorf("%s: got %d, %.100q, %.100q", name, code, stdout, stderr)
		}
	}
}

// Lines without end and events without end are read in bounded memory.
func TestWatchFlood(t *testing.T) {
	stdout, stderr, code := watchText("@nix " + strings.Repeat("x", maxEventLine) + "\nnext\n" + strings.Repeat("y", 1<<20))
	if stdout != "next\n"+strings.Repeat("y", 1<<20) || !strings.Contains(stderr, "is left out") || code != exitYes {
		t.Errorf("got %d, %.100q, %d bytes", code, stderr, len(stdout))
	}
	var input strings.Builder
	for i := range 2 * maxWatched {
		input.WriteString(eventLine(activity.Start{ID: activity.ID(i + 1), Type: activity.Build, Fields: []activity.Field{activity.Text(fmt.Sprint("/nix/store/x-", i, ".drv"))}}))
	}
	if _, stderr, code := watchText(input.String()); code != exitNo || !strings.Contains(stderr, fmt.Sprint(maxWatched, " builds were running")) {
		t.Errorf("got %d, %.100q", code, stderr)
	}
}
