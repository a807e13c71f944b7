package activity_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"pix/activity"
)

// The lines were printed by nix build --log-format internal-json of Nix 2.34.8.
func TestAppendJSON(t *testing.T) {
	for _, c := range []struct {
		event activity.Event
		want  string
	}{
		{activity.Start{ID: 111669149696, Level: activity.LevelDebug, Text: "querying info about missing paths"},
			`{"action":"start","id":111669149696,"level":6,"parent":0,"text":"querying info about missing paths","type":0}`},
		{activity.Start{ID: 111669149701, Level: activity.LevelInfo, Type: activity.Build, Text: "building '/nix/store/x.drv'", Parent: 1<<64 - 1,
			Fields: []activity.Field{activity.Text("/nix/store/x.drv"), activity.Text(""), activity.Number(1), activity.Number(1)}},
			`{"action":"start","fields":["/nix/store/x.drv","",1,1],"id":111669149701,"level":3,"parent":18446744073709551615,"text":"building '/nix/store/x.drv'","type":105}`},
		{activity.Result{ID: 7, Type: activity.BuildLogLine, Fields: []activity.Field{activity.Text("café \xff \x01 \x1b[31mred\x1b[0m \t \" \\ / \x7f \u2028")}},
			`{"action":"result","fields":["café ` + "\ufffd" + ` \u0001 \u001b[31mred\u001b[0m \t \" \\ / ` + "\x7f \u2028" + `"],"id":7,"type":101}`},
		{activity.Result{ID: 7, Type: activity.Progress}, `{"action":"result","id":7,"type":105}`},
		{activity.Stop{ID: 7}, `{"action":"stop","id":7}`},
		{activity.Log{Level: activity.LevelInfo, Text: "this derivation will be built:"}, `{"action":"msg","level":3,"msg":"this derivation will be built:"}`},
	} {
		if got := string(activity.AppendJSON(nil, c.event)); got != c.want {
			t.Errorf("%+v:\ngot  %s\nwant %s", c.event, got, c.want)
		}
	}
	e := &activity.Error{Message: "Cannot build 'x'.\nReason: \x1b[31;1mno\x1b[0m."}
	want := `{"action":"msg","column":null,"file":null,"level":0,"line":null,"msg":"\u001b[31;1merror:\u001b[0m Cannot build 'x'.\n       Reason: \u001b[31;1mno\u001b[0m.","raw_msg":"Cannot build 'x'.\nReason: \u001b[31;1mno\u001b[0m."}`
	if got := string(activity.AppendErrorJSON(nil, e)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// Invalid UTF-8 is replaced as by the JSON library of Nix: one character for each incomplete sequence.
func TestAppendJSONInvalid(t *testing.T) {
	for text, want := range map[string]string{
		"\xff\xfe":             "??",
		"a\xe2\x82":            "a?",
		"\xe2\x82z":            "?z",
		"\xf0\x9f\x98":         "?",
		"\xf0\x9f\x98\xe2\x82": "??",
		"\xe0\x80":             "??",
		"\xed\xa0\x80":         "???",
		"\xf4\x90\x80\x80":     "????",
		"\xf0\x80\x80":         "???",
		"\xc3":                 "?",
		"\xc3\xc3\xa9":         "?é",
		"\xc0\xaf":             "??",
		"\xf1\x80\x80":         "?",
		"\xef\xbf\xbd":         "?",
	} {
		got := string(activity.AppendJSON(nil, activity.Log{Text: text}))
		if want := `{"action":"msg","level":0,"msg":"` + strings.ReplaceAll(want, "?", "\ufffd") + `"}`; got != want {
			t.Errorf("%q: got %s, want %s", text, got, want)
		}
	}
}

func TestParseJSON(t *testing.T) {
	for _, e := range []activity.Event{
		activity.Start{ID: 1<<64 - 1, Level: 3, Type: activity.Build, Text: "b", Parent: 5, Fields: []activity.Field{activity.Text("x"), activity.Number(1<<64 - 1)}},
		activity.Stop{ID: 3},
		activity.Result{ID: 3, Type: activity.SetPhase, Fields: []activity.Field{activity.Text("\x1b\u2028")}},
		activity.Log{Level: 4, Text: "<&>"},
	} {
		got, err := activity.ParseJSON(string(activity.AppendJSON(nil, e)))
		if err != nil || !reflect.DeepEqual(got, e) {
			t.Errorf("got %+v, %v, want %+v", got, err, e)
		}
	}
	e := &activity.Error{Message: "no"}
	if got, err := activity.ParseJSON(string(activity.AppendErrorJSON(nil, e))); err != nil || got != (activity.Event)(activity.Log{Text: "\x1b[31;1merror:\x1b[0m no"}) {
		t.Errorf("got %+v, %v", got, err)
	}
	if got, err := activity.ParseJSON(`{"action":"later"}`); got != nil || err != nil {
		t.Errorf("got %+v, %v", got, err)
	}
	for _, bad := range []string{"", "x", "{}", "[]", `{"action":"stop"}`, `{"action":"stop","id":-1}`, `{"action":"stop","id":1}x`, `{"action":"stop","id":1e3}`,
		`{"action":"msg","msg":"x","level":4294967296}`, `{"action":"result","id":1,"type":1,"fields":[[]]}`, "{\"action\":\"msg\",\"level\":0,\"msg\":\"\xff\"}", strings.Repeat("[", 100000)} {
		if e, err := activity.ParseJSON(bad); err == nil {
			t.Errorf("%.40q: got %+v", bad, e)
		}
	}
}

// Each event is a line of valid JSON that is read back as the same event.
func FuzzAppendJSON(f *testing.F) {
	f.Add("text", "field", uint64(1), uint32(1))
	f.Add("\xe2\x82", "\xf0\x9f\x98\n", uint64(1<<63), uint32(105))
	f.Fuzz(func(t *testing.T, text, field string, id uint64, n uint32) {
		for _, e := range []activity.Event{
			activity.Log{Text: text, Level: activity.Verbosity(n)},
			activity.Start{ID: activity.ID(id), Text: text, Type: activity.Type(n), Fields: []activity.Field{activity.Text(field), activity.Number(id)}},
		} {
			line := activity.AppendJSON(nil, e)
			if strings.ContainsAny(string(line), "\n\r") || !json.Valid(line) {
				t.Fatalf("%q", line)
			}
			back, err := activity.ParseJSON(string(line))
			if err != nil {
				t.Fatal(err)
			}
			if again := activity.AppendJSON(nil, back); string(again) != string(line) {
				t.Fatalf("%q became %q", line, again)
			}
		}
	})
}
