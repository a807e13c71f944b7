package protocol

import (
	"testing"

	"pix/wire"
)

// Nix 2.34 writes '^' between the outputs of a derived path that is nested more than once, except before the last two.
func TestNestedDerivedPath(t *testing.T) {
	p := Params{Version: MaxVersion, Dir: testDir}
	const drv = string(testPath) + ".drv"
	for text, want := range map[string]string{
		drv + "!out":                       drv + "^out",
		drv + "!out!*":                     drv + "^out^*",
		drv + "^out!dev!out":               drv + "^out^dev^out",
		drv + "!out!dev!out":               drv + "^out^dev^out",
		drv + "^a^b^c!d!e,f":               drv + "^a^b^c^d^e,f",
		drv + "^out":                       "",
		drv + "!out^dev":                   "",
		drv + "!out!!out":                  "",
		drv + "^!out":                      "",
		drv + "^out!dev!out^*":             "",
		string(testPath) + "^x!../x!y!out": "",
	} {
		b := wire.AppendUint64(wire.AppendStrings(nil, []string{text}), 0)
		req, err := p.ReadRequest(reader(append(words(uint64(BuildPaths)), b...)))
		if want == "" {
			if err == nil {
				t.Errorf("%s: %+v", text, req)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got := req.(*BuildPathsRequest).Paths[0]; got.String() != want || string(got.Base()) != drv {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}
