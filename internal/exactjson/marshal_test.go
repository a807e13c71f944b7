package exactjson

import "testing"

func TestMarshal(t *testing.T) {
	got, err := Marshal(map[string]any{"b": "<&>", "a": []int{}, "c": "\u2028"})
	if want := `{"a":[],"b":"<&>","c":"\u2028"}`; err != nil || string(got) != want {
		t.Errorf("got %s, %v, want %s", got, err, want)
	}
}
