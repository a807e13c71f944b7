package signature_test

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pix/internal/testenv"
	"pix/nixhash"
	"pix/signature"
	"pix/storepath"
)

// secretText is the key in Nix's own tests (src/libstore-tests/realisation.cc).
const secretText = "test-key:tU7tTvLcScf8pmz/eTV0BEtLmRsPpZfKaRcd0nCN+pysBZPHSeg61/u2oc7mIOewfuAY1V1BiX32homTaDJ2Jw=="

const (
	publicText = "test-key:rAWTx0noOtf7tqHO5iDnsH7gGNVdQYl99oaJk2gydic="
	digits     = "g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q"
)

func Example() {
	secret, err := signature.ParseSecretKey(secretText)
	if err != nil {
		panic(err)
	}
	path := storepath.Path("/nix/store/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-hello")
	fingerprint, err := signature.PathFingerprint(path, nixhash.Sum(nixhash.SHA256, []byte("abc")), 3, []storepath.Path{path})
	if err != nil {
		panic(err)
	}
	s := secret.Sign(fingerprint)

	trusted, err := signature.ParseKeySet("test-key:rAWTx0noOtf7tqHO5iDnsH7gGNVdQYl99oaJk2gydic=")
	if err != nil {
		panic(err)
	}
	good, err := trusted.Verify(fingerprint, s)
	fmt.Println(len(good), err)
	// Output: 1 <nil>
}

func ExampleGenerateKey() {
	secret, err := signature.GenerateKey("cache.example.org-1")
	if err != nil {
		panic(err)
	}
	// Reveal returns the contents of a key file. Printing the key shows only its name.
	file := secret.Reveal()
	fmt.Println(len(file), secret)
	// Output: 108 secret key cache.example.org-1
}

func parseSecret(t testing.TB, s string) signature.SecretKey {
	t.Helper()
	k, err := signature.ParseSecretKey(s)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// The test vector "SHA(abc)" of RFC 8032, section 7.1.
func TestVector(t *testing.T) {
	unhex := func(s string) []byte {
		b, err := hex.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	seed := unhex("833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42")
	public := unhex("ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf")
	message := unhex("ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f")
	want := unhex("dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b58909351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17ad9bef1177331a704")

	k := parseSecret(t, "test:"+base64.StdEncoding.EncodeToString(append(seed, public...)))
	s := k.Sign(message)
	if s.KeyName() != "test" || string(s.Bytes()) != string(want) {
		t.Errorf("the signature is %v", s)
	}
	if got := k.Public().String(); got != "test:"+base64.StdEncoding.EncodeToString(public) {
		t.Errorf("the public key is %s", got)
	}
	if err := k.Public().Verify(message, s); err != nil {
		t.Error(err)
	}
}

func TestSignAndVerify(t *testing.T) {
	k, err := signature.GenerateKey("a-1")
	if err != nil {
		t.Fatal(err)
	}
	if again := parseSecret(t, k.Reveal()+"\n"); again.Reveal() != k.Reveal() || again.Name() != "a-1" {
		t.Error("a parsed key differs from the original")
	}
	public, err := signature.ParsePublicKey(k.Public().String())
	if err != nil || public != k.Public() || public.Name() != "a-1" {
		t.Errorf("the public key %v is parsed as %v, %v", k.Public(), public, err)
	}
	s := k.Sign([]byte("hello"))
	if s != k.Sign([]byte("hello")) {
		t.Error("two signatures of the same message differ")
	}
	if err := public.Verify([]byte("hello"), s); err != nil {
		t.Error(err)
	}

	flipped := s.Bytes()
	flipped[40] ^= 1
	other, err := signature.New("b", s.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct {
		key     signature.PublicKey
		message string
		s       signature.Signature
	}{
		"another message":      {public, "hello!", s},
		"another key":          {parseSecret(t, secretText).Public(), "hello", s},
		"another name":         {public, "hello", other},
		"a flipped bit":        {public, "hello", newSignature(t, "a-1", flipped)},
		"63 bytes":             {public, "hello", newSignature(t, "a-1", s.Bytes()[:63])},
		"65 bytes":             {public, "hello", newSignature(t, "a-1", append(s.Bytes(), 0))},
		"the zero key":         {signature.PublicKey{}, "hello", s},
		"two zero values":      {signature.PublicKey{}, "hello", signature.Signature{}},
		"no signature":         {public, "hello", signature.Signature{}},
		"zeros as a signature": {public, "hello", newSignature(t, "a-1", make([]byte, 64))},
	} {
		var bad *signature.Error
		if err := c.key.Verify([]byte(c.message), c.s); !errors.As(err, &bad) {
			t.Errorf("%s: %v, want an Error", what, err)
		}
	}
}

func newSignature(t *testing.T, name string, b []byte) signature.Signature {
	t.Helper()
	s, err := signature.New(name, b)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Parse accepts exactly what Nix accepts. Nix is lenient only about base 64.
func TestParse(t *testing.T) {
	for _, c := range []struct {
		text, want string // want is "" if the text is invalid
	}{
		{"k:AAAA", "k:AAAA"},
		{"k:AAA", "k:AAA="},
		{"k:AAA=", "k:AAA="},
		{"k:AA\nAA\n", "k:AAAA"},
		{"k:AAB=", "k:AAA="},           // a bit set after the last byte
		{"k:AAAA=!?", "k:AAAA"},        // the padding ends the text
		{" k\n x:AAAA", " k\n x:AAAA"}, // a name may contain anything except a colon
		{"k:+/+/", "k:+/+/"},
		{publicText, publicText},
		{"", ""}, {":", ""}, {"k", ""}, {"k:", ""}, {":AAAA", ""}, {"k:=", ""}, {"k:A", ""}, {"k:\n", ""},
		{"k:AA AA", ""}, {"k:AA-_", ""}, {"k:AAAA\r\n", ""}, {"k:AA:AA", ""}, {"k:é", ""},
	} {
		s, err := signature.Parse(c.text)
		if s.String() != c.want || (err == nil) != (c.want != "") {
			t.Errorf("Parse(%q) = %q, %v, want %q", c.text, s, err, c.want)
		}
		canonical, err := signature.Canonical(c.text)
		if canonical != c.want || (err == nil) != (c.want != "") {
			t.Errorf("Canonical(%q) = %q, %v, want %q", c.text, canonical, err, c.want)
		}
		var bad *signature.Error
		if err != nil && !errors.As(err, &bad) {
			t.Errorf("Parse(%q): %v, want an Error", c.text, err)
		}
	}
	for _, name := range []string{"", "a:b"} {
		if s, err := signature.New(name, []byte("x")); err == nil {
			t.Errorf("New(%q) = %v, want an error", name, s)
		}
	}
}

func TestParseKeyRejectsInvalid(t *testing.T) {
	half := secretText[:60]
	other, err := signature.GenerateKey("test-key")
	if err != nil {
		t.Fatal(err)
	}
	mixed := append([]byte(nil), decode(t, secretText)[:32]...)
	mixed = append(mixed, decode(t, other.Public().String())...)
	for what, text := range map[string]string{
		"nothing":             "",
		"no name":             secretText[len("test-key"):],
		"a public key":        publicText,
		"half a key":          half,
		"a trailing byte":     "test-key:" + base64.StdEncoding.EncodeToString(append(decode(t, secretText), 0)),
		"halves of two keys":  "test-key:" + base64.StdEncoding.EncodeToString(mixed),
		"a carriage return":   secretText[:50] + "\r\n" + secretText[50:],
		"an illegal byte":     strings.Replace(secretText, "tU7t", "tU!t", 1),
		"a name and no colon": "test-key",
	} {
		_, err := signature.ParseSecretKey(text)
		var bad *signature.Error
		if !errors.As(err, &bad) {
			t.Errorf("%s: %v, want an Error", what, err)
		} else if strings.Contains(err.Error(), "TvLcScf8") {
			t.Errorf("%s: the error contains the key: %v", what, err)
		}
	}
	for _, text := range []string{"", secretText, "test-key:AAAA", "rAWTx0noOtf7tqHO5iDnsH7gGNVdQYl99oaJk2gydic="} {
		if k, err := signature.ParsePublicKey(text); err == nil {
			t.Errorf("ParsePublicKey(%q) = %v", text, k)
		}
	}
	for _, name := range []string{"", "a:b", "a b", "a\n", "a\u00a0b"} {
		if _, err := signature.GenerateKey(name); err == nil {
			t.Errorf("GenerateKey(%q): no error", name)
		}
	}
}

func decode(t *testing.T, text string) []byte {
	t.Helper()
	_, text, _ = strings.Cut(text, ":")
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// No verb of package fmt prints a secret key.
func TestSecretIsNotPrinted(t *testing.T) {
	k := parseSecret(t, secretText)
	secret := string(decode(t, secretText)[:8])
	type hidden struct{ key signature.SecretKey }
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
		for _, v := range []any{k, &k, hidden{k}, []signature.SecretKey{k}} {
			printed := fmt.Sprintf(verb, v)
			for _, spelling := range []string{"tU7tTvLc", secret, hex.EncodeToString([]byte(secret)), fmt.Sprint([]byte(secret)[:3])} {
				if strings.Contains(strings.ToLower(printed), strings.ToLower(strings.Trim(spelling, "[]"))) {
					t.Errorf("%s of a %T shows the key: %q", verb, v, printed)
				}
			}
		}
	}
	if b, err := json.Marshal(k); err != nil || string(b) != "{}" {
		t.Errorf("as JSON a secret key is %s, %v", b, err)
	}
}

func TestKeySet(t *testing.T) {
	message := []byte("hello")
	a, b := parseSecret(t, secretText), parseSecret(t, "b:"+strings.TrimPrefix(secretText, "test-key:"))
	impostor, err := signature.GenerateKey("test-key")
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := signature.GenerateKey("stranger")
	if err != nil {
		t.Fatal(err)
	}
	set, err := signature.ParseKeySet(" " + publicText + "\n\t" + b.Public().String() + "\r\n" + impostor.Public().String() + " ")
	if err != nil || len(set) != 2 || set["test-key"] != a.Public() {
		t.Fatalf("%v, %v", set, err)
	}

	sigA, sigB := a.Sign(message), b.Sign(message)
	good, err := set.Verify(message, impostor.Sign(message), sigB, stranger.Sign(message), sigA, sigB)
	if err != nil || !slices.Equal(good, []signature.Signature{sigB, sigA}) {
		t.Errorf("%v, %v, want the signatures of b and test-key", good, err)
	}
	good, err = set.Verify(message, newSignature(t, "b", []byte("short")), sigA)
	var bad *signature.Error
	if !errors.As(err, &bad) || bad.Name != "b" || !slices.Equal(good, []signature.Signature{sigA}) {
		t.Errorf("with a short signature: %v, %v", good, err)
	}
	if good, err := set.Verify(message, newSignature(t, "stranger", []byte("short"))); len(good) > 0 || err != nil {
		t.Errorf("with a short signature by an untrusted key: %v, %v", good, err)
	}
	if good, err := signature.KeySet(nil).Verify(message, sigA); len(good) > 0 || err != nil {
		t.Errorf("without trusted keys: %v, %v", good, err)
	}
	if good, _ := signature.NewKeySet(signature.PublicKey{}).Verify(message, signature.Signature{}); len(good) > 0 {
		t.Errorf("the zero key verifies %v", good)
	}
	if _, err := signature.ParseKeySet(publicText + "\n" + publicText + ",x"); err != nil {
		t.Errorf("text after the padding: %v", err) // Nix ignores it too
	}
	if _, err := signature.ParseKeySet(publicText + " x"); err == nil {
		t.Error("an invalid key was accepted")
	}
}

func TestOrder(t *testing.T) {
	// By key name, then by bytes. The order of the texts differs in both.
	want := []string{"a:////", "a-1:AAAA", "b:zzzz", "b:+AAA", "b:/AAA"}
	got, err := signature.ParseAll([]string{want[4], want[2], want[0], want[3], want[1], want[2]})
	if err != nil {
		t.Fatal(err)
	}
	var texts []string
	for _, s := range got {
		texts = append(texts, s.String())
	}
	if !slices.Equal(texts, want) {
		t.Errorf("%q, want %q", texts, want)
	}
	if slices.IsSorted(want) {
		t.Error("the texts are sorted, so the test proves nothing")
	}
	if _, err := signature.ParseAll([]string{"a:AAAA", "a"}); err == nil {
		t.Error("an invalid signature was accepted")
	}
}

func TestJSON(t *testing.T) {
	var signatures []signature.Signature
	text := `["k:AAAA",{"keyName":"k","sig":"AAAA","more":1},{"keyName":"l","sig":"/+8"}]`
	if err := json.Unmarshal([]byte(text), &signatures); err != nil {
		t.Fatal(err)
	}
	if signatures[0] != signatures[1] {
		t.Errorf("the two forms differ: %v, %v", signatures[0], signatures[1])
	}
	if b, err := json.Marshal(signatures); err != nil || string(b) != `["k:AAAA","k:AAAA","l:/+8="]` {
		t.Errorf("%s, %v", b, err)
	}
	if b, err := json.Marshal(signatures[2].JSONObject()); err != nil || string(b) != `{"keyName":"l","sig":"/+8="}` {
		t.Errorf("%s, %v", b, err)
	}
	for _, bad := range []string{
		`"k"`, `1`, `{}`, `[]`, `null`, `{"keyName":"k"}`, `{"sig":"AAAA"}`, `{"keyName":"k","sig":"!"}`, `{"keyName":"k","sig":""}`,
		`{"keyName":null,"sig":"AAAA"}`, `{"KeyName":"k","Sig":"AAAA"}`, `{"keyName":"a:b","sig":"AAAA"}`,
	} {
		var s signature.Signature
		if err := s.UnmarshalJSON([]byte(bad)); err == nil {
			t.Errorf("%s was accepted as %v", bad, s)
		}
	}
}

func TestText(t *testing.T) {
	type object struct {
		Sig signature.Signature
		Key signature.PublicKey
	}
	for _, text := range []string{`{"Sig":"k:AAAA","Key":"` + publicText + `"}`} {
		var o object
		if err := json.Unmarshal([]byte(text), &o); err != nil {
			t.Fatal(err)
		}
		if b, err := json.Marshal(o); err != nil || string(b) != text {
			t.Errorf("%s is marshalled as %s, %v", text, b, err)
		}
	}
	var s signature.Signature
	var k signature.PublicKey
	if err := errors.Join(s.UnmarshalText(nil), k.UnmarshalText(nil)); err != nil || !s.IsZero() || !k.IsZero() {
		t.Errorf("an empty text: %v, %v, %v", s, k, err)
	}
	if s.UnmarshalText([]byte("k")) == nil || k.UnmarshalText([]byte("k")) == nil {
		t.Error("invalid texts were accepted")
	}
}

func TestPathFingerprint(t *testing.T) {
	const path storepath.Path = "/nix/store/" + digits + "-a"
	const other storepath.Path = "/nix/store/" + digits + "-b"
	const foreign storepath.Path = "/gnu/store/" + digits + "-b"
	hash := nixhash.Sum(nixhash.SHA256, []byte("abc"))
	const head = "1;/nix/store/" + digits + "-a;sha256:1b8m03r63zqhnjf7l5wnldhh7c134ap5vpj0850ymkq1iyzicy5s;34878;"
	for _, c := range []struct {
		references []storepath.Path
		want       string
	}{
		{nil, head},
		{[]storepath.Path{path}, head + string(path)},
		{[]storepath.Path{other, path, other}, head + string(path) + "," + string(other)},
	} {
		before := slices.Clone(c.references)
		got, err := signature.PathFingerprint(path, hash, 34878, c.references)
		if err != nil || string(got) != c.want {
			t.Errorf("%s, %v, want %s", got, err, c.want)
		}
		if !slices.Equal(before, c.references) {
			t.Error("PathFingerprint sorted the caller's references")
		}
	}
	for what, f := range map[string]func() ([]byte, error){
		"no size":                func() ([]byte, error) { return signature.PathFingerprint(path, hash, 0, nil) },
		"no hash":                func() ([]byte, error) { return signature.PathFingerprint(path, nixhash.Hash{}, 1, nil) },
		"no path":                func() ([]byte, error) { return signature.PathFingerprint("", hash, 1, nil) },
		"a foreign reference":    func() ([]byte, error) { return signature.PathFingerprint(path, hash, 1, []storepath.Path{foreign}) },
		"an empty reference":     func() ([]byte, error) { return signature.PathFingerprint(path, hash, 1, []storepath.Path{""}) },
		"not a derivation":       func() ([]byte, error) { return signature.RealisationFingerprint(path, "out", other) },
		"an invalid output name": func() ([]byte, error) { return signature.RealisationFingerprint(path+".drv", `"`, other) },
		"a foreign output":       func() ([]byte, error) { return signature.RealisationFingerprint(path+".drv", "out", foreign) },
		"no modulo hash":         func() ([]byte, error) { return signature.OldRealisationFingerprint(nixhash.Hash{}, "out", other) },
		"an empty output name":   func() ([]byte, error) { return signature.OldRealisationFingerprint(hash, "", other) },
		"an empty output path":   func() ([]byte, error) { return signature.OldRealisationFingerprint(hash, "out", "") },
	} {
		got, err := f()
		var bad *signature.FingerprintError
		if !errors.As(err, &bad) || got != nil {
			t.Errorf("%s: %s, %v, want a FingerprintError", what, got, err)
		} else if !strings.Contains(err.Error(), bad.Reason) || !strings.Contains(err.Error(), string(bad.Path)) {
			t.Errorf("%s: the error is %q", what, err)
		}
	}
}

// Nix 2.34 prints JSON objects with sorted keys and without white space.
func TestOldRealisationFingerprint(t *testing.T) {
	hash := nixhash.Sum(nixhash.SHA256, []byte("abc"))
	got, err := signature.OldRealisationFingerprint(hash, "out", "/nix/store/"+digits+"-a")
	const want = `{"dependentRealisations":{},"id":"sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad!out","outPath":"` + digits + `-a"}`
	if err != nil || string(got) != want {
		t.Errorf("%s, %v, want %s", got, err, want)
	}
	object := map[string]any{"id": hash.WithBase16() + "!out", "outPath": digits + "-a", "dependentRealisations": map[string]any{}}
	if b, err := json.Marshal(object); err != nil || string(b) != string(got) {
		t.Errorf("%s, but as JSON it is %s, %v", got, b, err)
	}
}

func readFile(t *testing.T, dir, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Fingerprints and signatures equal those that Nix computed for the realisations of its tests.
func TestGoldenRealisations(t *testing.T) {
	dir := testenv.NixData(t, "store/realisation")
	key := parseSecret(t, secretText)
	for _, name := range []string{"simple", "with-signature"} {
		var realisation struct {
			Key   struct{ DrvPath, OutputName string }
			Value struct {
				OutPath    string
				Signatures []signature.Signature
			}
		}
		if err := json.Unmarshal(readFile(t, dir, name+".json"), &realisation); err != nil {
			t.Fatal(err)
		}
		drv, err1 := storepath.DefaultDir.ParseBase(realisation.Key.DrvPath)
		out, err2 := storepath.DefaultDir.ParseBase(realisation.Value.OutPath)
		got, err3 := signature.RealisationFingerprint(drv, realisation.Key.OutputName, out)
		if err := errors.Join(err1, err2, err3); err != nil {
			t.Fatal(err)
		}
		if want := readFile(t, dir, name+"-fingerprint.txt"); string(got) != string(want) {
			t.Errorf("%s: the fingerprint is %s, want %s", name, got, want)
		}
		var want signature.Signature
		if err := json.Unmarshal(readFile(t, dir, name+"-sig.json"), &want); err != nil {
			t.Fatal(err)
		}
		if s := key.Sign(got); s != want {
			t.Errorf("%s: the signature is %v, want %v", name, s, want)
		}
		if err := key.Public().Verify(got, want); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if b, err := json.MarshalIndent(want.JSONObject(), "", "  "); err != nil || string(b)+"\n" != string(readFile(t, dir, name+"-sig.json")) {
			t.Errorf("%s: the signature prints as %s, %v", name, b, err)
		}
	}
}

// Both JSON forms of a signature have the same meaning.
func TestGoldenSignatureForms(t *testing.T) {
	dir := testenv.NixData(t, "store/realisation")
	var forms [2][]signature.Signature
	for i, name := range []string{"with-signature.json", "with-signature-unstructured.json"} {
		var object struct {
			Value struct{ Signatures []signature.Signature }
		}
		if err := json.Unmarshal(readFile(t, dir, name), &object); err != nil {
			t.Fatal(err)
		}
		forms[i] = object.Value.Signatures
	}
	if len(forms[0]) != 1 || !slices.Equal(forms[0], forms[1]) {
		t.Errorf("%v and %v", forms[0], forms[1])
	}
}

func FuzzParse(f *testing.F) {
	f.Add("k:AAAA")
	f.Add("k:AA\nA=x")
	f.Add(secretText)
	f.Add(publicText)
	f.Fuzz(func(t *testing.T, text string) {
		s, err := signature.Parse(text)
		canonical, err2 := signature.Canonical(text)
		if (err == nil) != (err2 == nil) || canonical != s.String() {
			t.Fatalf("Parse(%q) = %v, %v; Canonical %q, %v", text, s, err, canonical, err2)
		}
		if err == nil {
			if again, err := signature.Parse(canonical); err != nil || again != s {
				t.Errorf("Parse(%q) = %v, but its canonical form %q is %v, %v", text, s, canonical, again, err)
			}
			if b, err := base64.StdEncoding.Strict().DecodeString(canonical[len(s.KeyName())+1:]); err != nil || string(b) != string(s.Bytes()) {
				t.Errorf("%q is not the standard base 64 of %x", canonical, s.Bytes())
			}
		}
		if k, err := signature.ParsePublicKey(text); err == nil {
			if again, err := signature.ParsePublicKey(k.String()); err != nil || again != k || again.String() != canonical {
				t.Errorf("public key %q is parsed again as %v, %v", text, again, err)
			}
		}
		if k, err := signature.ParseSecretKey(text); err == nil && k.Reveal() != canonical {
			t.Errorf("secret key %q is revealed as %q", text, k.Reveal())
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	k := parseSecret(b, secretText)
	message := []byte(strings.Repeat("x", 500))
	s := k.Sign(message)
	set := signature.NewKeySet(k.Public())
	b.ReportAllocs()
	for b.Loop() {
		if good, err := set.Verify(message, s); len(good) != 1 || err != nil {
			b.Fatal(good, err)
		}
	}
}

func BenchmarkCanonical(b *testing.B) {
	s := parseSecret(b, secretText).Sign(nil).String()
	b.ReportAllocs()
	for b.Loop() {
		if got, err := signature.Canonical(s); err != nil || got != s {
			b.Fatal(got, err)
		}
	}
}
