package builder

import (
	"testing"
	"time"

	"pix/signature"
)

// Options that change a build change the key, and limits do not.
func TestKey(t *testing.T) {
	secret, err := signature.GenerateKey("test-1")
	if err != nil {
		t.Fatal(err)
	}
	base := (&Options{}).Key("")
	for what, o := range map[string]*Options{
		"sandbox":         {Sandbox: SandboxNone},
		"sandbox paths":   {SandboxPaths: []SandboxPath{{Target: "/x"}}},
		"cores":           {Cores: 2},
		"hook":            {PreBuildHook: "/hook"},
		"keep-failed":     {KeepFailed: true},
		"keys":            {SecretKeys: []signature.SecretKey{secret}},
		"system features": {SystemFeatures: []string{"kvm"}},
		"passwords":       {Netrc: []byte("x")},
	} {
		if key := o.Key(""); key == base || key != o.Key("") {
			t.Errorf("%s: the key is %s, and %s without", what, key, base)
		}
	}
	if (&Options{}).Key("http_proxy=x") == base || (&Options{}).Key("", "x") == base || (&Options{}).Key("x", "") == (&Options{}).Key("", "x") {
		t.Error("settings that are not in the options do not change the key")
	}
	limited := &Options{Timeout: time.Second, MaxSilentTime: time.Second, MaxLogSize: 1, PollInterval: time.Second, ImpureEnv: func(string) (string, bool) { return "", false }}
	if limited.Key("") != base {
		t.Error("limits change the key")
	}
}
