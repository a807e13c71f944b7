package nixconf

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// The cases are from Nix's own tests (machines.cc of libstore-tests), and some that Nix does not test.
func TestParseMachines(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return file
	}
	inner := write("inner", "inner # a comment\n\n")
	outer := write("outer", "outer; @ "+inner+" \n@"+dir+"/missing\n# nothing")
	loop := write("loop", "@"+filepath.Join(dir, "loop"))
	host := func(name string) Machine { return Machine{Store: name, Systems: []string{"sys"}, MaxJobs: 1, Speed: 1} }
	full := Machine{
		Store: "ssh-ng://nix@scratchy.labs.cs.uu.nl", Systems: []string{"i686-linux", "x86_64-linux"}, SSHKey: "/home/nix/.ssh/id", MaxJobs: 8, Speed: 3,
		Features: []string{"kvm", "big"}, Mandatory: []string{"benchmark"}, HostKey: "SSH+key+base64+encoded==",
	}
	for text, want := range map[string][]Machine{
		"":                           {},
		" ; \n;;":                    {},
		"nix@itchy":                  {host("ssh://nix@itchy")},
		"a ; b\nc":                   {host("ssh://a"), host("ssh://b"), host("ssh://c")},
		"auto":                       {host("auto")},
		"daemon?x=y":                 {host("daemon?x=y")},
		"?root=/x":                   {host("?root=/x")},
		"/srv/store":                 {host("/srv/store")},
		"unix:///sock - - - - - - -": {host("unix:///sock")},
		"ssh-ng://nix@scratchy.labs.cs.uu.nl i686-linux,x86_64-linux\t/home/nix/.ssh/id 8 3 kvm,big benchmark SSH+key+base64+encoded==": {full},
		"h - - 0 0":            {{Store: "ssh://h", Systems: []string{"sys"}, Speed: 1}},
		"h - - - 1.5":          {{Store: "ssh://h", Systems: []string{"sys"}, MaxJobs: 1, Speed: 1.5}},
		"h # - - x":            {host("ssh://h")},
		"@" + outer + ";last":  {host("ssh://outer"), host("ssh://inner"), host("ssh://last")},
		"@" + dir + "/nothing": {},
	} {
		got, err := ParseMachines(text, "sys")
		if err != nil || len(got)+len(want) > 0 && !equalMachines(got, want) {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
	for text, want := range map[string]string{
		"- x86_64-linux":                    "bad machine specification: store URL was not found at the first column of a row: '- x86_64-linux'",
		"h - - eight":                       "bad machine specification: failed to convert column #3 in a row: 'h - - eight' to 'unsigned int'",
		"h - - -1":                          "bad machine specification: failed to convert column #3 in a row: 'h - - -1' to 'unsigned int'",
		"h - - 8 three":                     "bad machine specification: failed to convert column #4 in a row: 'h - - 8 three' to 'float'",
		"h - - 8 -3":                        "speed factor must be >= 0",
		"h - - 8 3 - - key!!":               "while parsing machine specification at a column #7 in a row: 'h - - 8 3 - - key!!': ",
		"@" + loop:                          "builders: too many nested files at '" + loop + "'",
		"@" + dir:                           "builders: '" + dir + "' is not a regular file",
		strings.Repeat("h;", maxMachines+1): "builders: 4097 machines, at most 4096 are supported",
	} {
		if _, err := ParseMachines(text, "sys"); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%.40q: %v", text, err)
		}
	}
}

func equalMachines(a, b []Machine) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		x, y := a[i], b[i]
		for _, m := range []*Machine{&x, &y} { // an empty list and nil are equal
			if len(m.Features) == 0 {
				m.Features = nil
			}
			if len(m.Mandatory) == 0 {
				m.Mandatory = nil
			}
		}
		if !reflect.DeepEqual(x, y) {
			return false
		}
	}
	return true
}

func TestMachine(t *testing.T) {
	m := &Machine{Store: "ssh-ng://h?compress=true", Systems: []string{"a", "b"}, Features: []string{"kvm"}, Mandatory: []string{"gpu"}, SSHKey: "/k", HostKey: "x+y="}
	if got := m.URI(); got != "ssh-ng://h?compress=true&ssh-key=/k&base64-ssh-public-host-key=x%2By%3D" {
		t.Error(got)
	}
	if got := (&Machine{Store: "/srv", SSHKey: "/k"}).URI(); got != "/srv" {
		t.Error(got)
	}
	for _, test := range []struct {
		system, required string
		want             bool
	}{
		{"a", "gpu", true}, {"b", "gpu kvm", true}, {"builtin", "gpu", true},
		{"c", "gpu", false}, {"a", "", false}, {"a", "kvm", false}, {"a", "gpu big", false},
	} {
		if got := m.Builds(test.system, strings.Fields(test.required)); got != test.want {
			t.Errorf("Builds(%q, %q) = %t", test.system, test.required, got)
		}
	}
}
