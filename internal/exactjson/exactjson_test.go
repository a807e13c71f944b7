package exactjson_test

import (
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"

	"pix/internal/exactjson"
)

func TestObject(t *testing.T) {
	got, err := exactjson.Object([]byte(` {"a": [1, {"b":2}], "A":"x" , "\u0061b":null} `))
	if err != nil || len(got) != 3 || string(got["a"]) != `[1, {"b":2}]` || string(got["A"]) != `"x"` || string(got["ab"]) != "null" {
		t.Errorf("%s, %v", got, err)
	}
	if got, err = exactjson.Object([]byte("{}")); err != nil || len(got) != 0 {
		t.Errorf("%s, %v", got, err)
	}
	for _, text := range []string{
		"", " ", "null", "1", `"a"`, "[]", "{", `{"a"`, `{"a":`, `{"a":1`, `{"a":1,`, `{"a":1,}`, `{"a" 1}`, `{a:1}`, `{1:1}`, `{"a":1}}`, `{"a":1} x`, `{} {}`,
		`{"a":1,"a":1}`, `{"a":1,"\u0061":2}`, "{\"\xff\":1}", `{"a":[}`, `{"a":x}`,
		strings.Repeat(`{"a":`, 20_000) + strings.Repeat("}", 20_000),
	} {
		got, err := exactjson.Object([]byte(text))
		if err == nil || got != nil {
			t.Errorf("%.40q is taken: %s", text, got)
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%.40q: %v looks like the end of a stream", text, err)
		}
	}
}

func TestString(t *testing.T) {
	if s, err := exactjson.String(json.RawMessage(`"a\n"`)); s != "a\n" || err != nil {
		t.Errorf("%q, %v", s, err)
	}
	for _, text := range []string{"", "null", "1", "{}", `["a"]`} {
		if s, err := exactjson.String(json.RawMessage(text)); err == nil {
			t.Errorf("%s is taken: %q", text, s)
		}
	}
}

// Object returns the members that encoding/json returns for texts that both accept.
func FuzzObject(f *testing.F) {
	for _, text := range []string{`{"a":1,"b":[{}]}`, `{"a":"\u0041","A":null}`, "null", `{"a":1,"a":2}`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		got, err := exactjson.Object(text)
		if err != nil {
			return
		}
		var want map[string]json.RawMessage
		if err := json.Unmarshal(text, &want); err != nil || len(got) != len(want) {
			t.Fatalf("%q: %q instead of %q, %v", text, got, want, err)
		}
		for name, value := range want {
			if string(got[name]) != string(value) {
				t.Errorf("%q: the member %q is %q instead of %q", text, name, got[name], value)
			}
		}
	})
}
