package derivation_test

import (
	"errors"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"pix/activity"
	"pix/daemon"
	"pix/derivation"
	"pix/internal/realnix"
	"pix/storepath"
)

// mutants are inserted into texts. They have a meaning in derivations.
var mutants = []string{
	"", "(", ")", "[", "]", ",", `"`, `\`, `\"`, `\n`, `\x`, "\n", "\x00", "\xff", "/", "//", "/./", "/../", "Derive(", "e", "A", "0", "sha256", "sha1", "md5",
	"r:", "text:", "git:", "blake3", "impure", "out", `"out"`, `("a","b")`, `,"x"`, `""`, "[]", "DrvWithVersion(\"xp-dyn-drv\",", "[],", ".drv", "-", " ",
}

// mutate changes a text in one to three places.
func mutate(r *rand.Rand, text string) string {
	for range 1 + r.IntN(3) {
		at := r.IntN(len(text) + 1)
		end := min(len(text), at+r.IntN(3))
		if r.IntN(8) == 0 {
			end = min(len(text), at+r.IntN(60))
		}
		text = text[:at] + mutants[r.IntN(len(mutants))] + text[end:]
	}
	return text
}

// seeds are short derivations of all kinds.
var realSeeds = []string{
	`Derive([("out","/nix/store/bi0l335fv146bda2c22180y58dspds10-greeting","","")],[],[],"x86_64-linux","/bin/sh",["-c","echo \"a\" > $out"],[("name","greeting"),("out","/nix/store/bi0l335fv146bda2c22180y58dspds10-greeting")])`,
	`Derive([("out","/nix/store/bi0l335fv146bda2c22180y58dspds10-fixed","sha256","ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")],[],[],"x","y",[],[("out","")])`,
	`Derive([("out","/nix/store/bi0l335fv146bda2c22180y58dspds10-fixed","r:sha1","a9993e364706816aba3e25717850c26c9cd0d89d")],[],["/nix/store/bi0l335fv146bda2c22180y58dspds10-src"],"x","y",[],[("out","")])`,
	`Derive([("dev","","r:sha256",""),("out","","r:sha256","")],[],[],"x","y",["a","b"],[])`,
	`Derive([("out","","text:sha256","impure")],[("/nix/store/bi0l335fv146bda2c22180y58dspds10-in.drv",["dev","out"])],[],"x","y",[],[("a","b")])`,
	`Derive([("out","","","")],[("/nix/store/ai0l335fv146bda2c22180y58dspds10-in.drv",["out"]),("/nix/store/bi0l335fv146bda2c22180y58dspds10-in.drv",["out"])],["/nix/store/bi0l335fv146bda2c22180y58dspds10-src"],"x","y",[],[])`,
	`DrvWithVersion("xp-dyn-drv",[("out","","","")],[("/nix/store/bi0l335fv146bda2c22180y58dspds10-in.drv",(["out"],[("dev",(["out"],[]))]))],[],"x","y",[],[("a","b\tc\\d")])`,
}

// TestRealVerdicts changes texts at random, and compares the result of Parse with the result of
// a Nix 2.34 daemon. A daemon parses a derivation when it is added.
func TestRealVerdicts(t *testing.T) {
	rounds := 1500
	if os.Getenv("PIX_LONG") != "" {
		rounds = 50_000
	}
	d := realnix.Start(t, realnix.Get(t, "sid"), &realnix.Options{Config: map[string]string{
		"experimental-features": "nix-command ca-derivations dynamic-derivations impure-derivations git-hashing blake3-hashes",
	}})
	c, err := daemon.Dial(t.Context(), d.Socket, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	r := rand.New(rand.NewPCG(1, 2))
	accepted := 0
	for i := range rounds {
		text := realSeeds[i%len(realSeeds)]
		if i >= len(realSeeds) {
			text = mutate(r, text)
		}
		_, err := (&derivation.ParseOptions{Dir: storepath.DefaultDir}).Parse(text)
		nixErr := nixVerdict(t, c, text)
		if err != nil && deliberate(err.Error()) {
			continue
		}
		if (err == nil) != (nixErr == nil) {
			t.Errorf("%s\npix: %v\nNix: %v", text, err, nixErr)
		}
		if err == nil {
			accepted++
		}
	}
	t.Logf("%d of %d texts are accepted", accepted, rounds)
}

// deliberate reports whether the message is for a text that pix deliberately rejects and Nix 2.34
// accepts: unlike later versions, Nix 2.34 does not check the byte after a hash part, and it
// accepts a platform with a quote, which it cannot write and parse again.
func deliberate(message string) bool {
	return strings.Contains(message, "not followed by a dash") || strings.Contains(message, "the platform contains a quote")
}

// nixVerdict returns the error if Nix cannot parse the text. It ignores errors after parsing.
func nixVerdict(t *testing.T, c *daemon.Conn, text string) error {
	t.Helper()
	_, err := c.AddTextToStore(t.Context(), "x.drv", text, nil)
	var said *activity.Error
	if err != nil && !errors.As(err, &said) {
		t.Fatal(err)
	}
	if err == nil || afterReading(err.Error(), text) {
		return nil
	}
	return err
}

// afterReading reports whether Nix returned the message for a derivation that it had parsed: wrong
// paths, a missing input, or an invalid path that Nix has computed, which is not in the text.
func afterReading(message, text string) bool {
	if path, ok := strings.CutPrefix(message, "path '"); ok && strings.Contains(message, "is not a valid store path") {
		base, _, _ := strings.Cut(path, "'")
		return !strings.Contains(strings.ReplaceAll(text, `\`, ""), base[:min(len(base), storepath.HashPartLen)])
	}
	return strings.HasPrefix(message, "derivation has ") || strings.HasPrefix(message, "can't mix derivation output types") ||
		strings.HasPrefix(message, "store path '") && strings.HasSuffix(message, "does not exist")
}
