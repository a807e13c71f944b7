package netrc

import (
	"slices"
	"testing"
)

func TestParse(t *testing.T) {
	got, err := Parse("# comment\nmachine a.example login me password \"p \\\"w\\\"\"\nmacdef x\nmachine b\n\ndefault login d\n")
	want := []Entry{
		{Host: "a.example", Login: "me", Password: `p "w"`, HasLogin: true, HasPassword: true},
		{IsDefault: true, Login: "d", HasLogin: true},
	}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := Parse("machine a login x\npassword \"open"); err == nil || len(got) != 0 {
		t.Errorf("%+v, %v", got, err)
	}
	for _, test := range []struct {
		host, user string
		strict     bool
		want       bool
	}{
		{"A.example", "", true, true},
		{"a.example", "me", true, true},
		{"a.example", "you", false, false},
		{"b.example", "", false, false},
	} {
		if got := want[0].IsFor(test.host, test.user, test.strict); got != test.want {
			t.Errorf("%+v: %v", test, got)
		}
	}
	if !want[1].IsFor("any", "", false) || want[1].IsFor("any", "", true) {
		t.Error("the default entry")
	}
}
