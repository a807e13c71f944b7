package nar_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"pix/nar"
	"pix/nixbase32"
	"pix/nixhash"
	"pix/storepath"
)

const (
	pathA = storepath.Path("/nix/store/m6wswa7yn6x5gi6gdq7x1fqlwmlhfja9-hello.txt")
	pathB = storepath.Path("/nix/store/0ccnxa25whszw7mgbgyzdm4nqc0zwnm8-glibc")
)

func ExampleRefScanner() {
	refs := nar.NewRefScanner([]storepath.Path{pathA, pathB})
	hasher := nar.NewHasher(nixhash.SHA256)
	io.Copy(io.MultiWriter(hasher, refs), strings.NewReader("#!"+string(pathB)+"/bin/sh\n"))
	fmt.Println(refs.Found(), hasher.Size())
	// Output: [/nix/store/0ccnxa25whszw7mgbgyzdm4nqc0zwnm8-glibc] 59
}

func scan(b []byte, size int, paths ...storepath.Path) []storepath.Path {
	s := nar.NewRefScanner(paths)
	for piece := range slices.Chunk(b, size) {
		s.Write(piece)
	}
	return s.Found()
}

// A hash part is found at every position and with every size of the pieces.
func TestRefScanner(t *testing.T) {
	a, b := pathA.HashPart(), pathB.HashPart()
	for what, text := range map[string]string{
		"alone":                             a,
		"at the end":                        "/nix/store/" + a,
		"in text":                           "/nix/store/" + a + "-hello.txt",
		"after NUL":                         "\x00\x00" + a + "\x00",
		"directly after base-32 digits":     "0123abcd" + a,
		"directly before base-32 digits":    a + "0123abcd",
		"after its own beginning":           a[:31] + a,
		"after many digits":                 strings.Repeat("0", 1000) + a + strings.Repeat("z", 1000),
		"after the other's beginning":       b[:16] + a,
		"between letters that are no digit": "e" + a + "e",
		"far away":                          strings.Repeat("the quick brown fox ", 500) + a,
		"in between text without a space":   strings.Repeat("e", 33) + a + strings.Repeat("u", 31),
	} {
		for size := 1; size <= len(text); size += 1 + size/8 {
			if got := scan([]byte(text), size, pathA, pathB); !slices.Equal(got, []storepath.Path{pathA}) {
				t.Errorf("%s, %d bytes at a time: %q", what, size, got)
			}
		}
	}
	for what, text := range map[string]string{
		"nothing":          "",
		"too short":        a[:31],
		"upper case":       strings.ToUpper(a),
		"interrupted":      a[:16] + "-" + a[16:],
		"another":          a[:31] + "8",
		"another first":    "n" + a[1:],
		"one that is long": strings.Repeat(a[1:]+"0", 50),
	} {
		for size := 1; size <= len(text); size += 1 + size/8 {
			if got := scan([]byte(text), size, pathA, pathB); got != nil {
				t.Errorf("%s, %d bytes at a time: %q", what, size, got)
			}
		}
	}
}

func TestRefScannerCandidates(t *testing.T) {
	sameHash := storepath.Path("/nix/store/" + pathA.HashPart() + "-other")
	got := scan([]byte(pathB+pathA), 1000, pathB, "", pathA, sameHash, pathA)
	if want := []storepath.Path{pathB, pathA, sameHash}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if got := scan([]byte(pathA), 10); got != nil {
		t.Errorf("without candidates: %q", got)
	}
	// Writing more after everything was found is not an error.
	s := nar.NewRefScanner([]storepath.Path{pathA})
	for range 3 {
		if n, err := io.WriteString(s, string(pathA)); n != len(pathA) || err != nil {
			t.Errorf("%d, %v", n, err)
		}
	}
}

func TestRefScannerDoesNotAllocate(t *testing.T) {
	s := nar.NewRefScanner([]storepath.Path{pathA})
	b := bytes.Repeat([]byte(pathB), 1000)
	if n := testing.AllocsPerRun(10, func() { s.Write(b) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// The scanner finds the same paths as bytes.Contains, with every size of the pieces.
func FuzzRefScanner(f *testing.F) {
	f.Add([]byte("0123"+pathA), uint16(7))
	f.Add([]byte(pathA.HashPart()[:31]+pathA.HashPart()+string(pathB)), uint16(31))
	f.Fuzz(func(t *testing.T, b []byte, size uint16) {
		// Take some of the candidates from the input.
		paths := []storepath.Path{pathA, pathB}
		for at := 0; at+32 <= len(b) && len(paths) < 20; at += 1 + at%5 {
			if p, err := storepath.Parse("/nix/store/" + string(b[at:at+32]) + "-x"); err == nil {
				paths = append(paths, p)
			}
		}
		var want []storepath.Path
		for _, p := range paths {
			if bytes.Contains(b, []byte(p.HashPart())) {
				want = append(want, p)
			}
		}
		slices.Sort(want)
		if got := scan(b, int(size)+1, paths...); !slices.Equal(got, slices.Compact(want)) {
			t.Errorf("%q in %q, %d at a time: want %q", got, b, size+1, want)
		}
	})
}

func rewrite(t *testing.T, b []byte, size int, rewrites map[string]string) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := nar.NewRewriter(&out, rewrites)
	if err != nil {
		t.Fatal(err)
	}
	for piece := range slices.Chunk(b, size) {
		if n, err := w.Write(piece); n != len(piece) || err != nil {
			t.Fatal(n, err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func ExampleRewriter() {
	w, _ := nar.NewRewriter(writerFunc(func(p []byte) (int, error) { return fmt.Printf("%s", p) }), map[string]string{
		pathA.HashPart(): pathB.HashPart(),
	})
	io.WriteString(w, "cat "+string(pathA)+"\n")
	w.Close()
	// Output: cat /nix/store/0ccnxa25whszw7mgbgyzdm4nqc0zwnm8-hello.txt
}

func TestRewriter(t *testing.T) {
	a, b := pathA.HashPart(), pathB.HashPart()
	zero := strings.Repeat("\x00", 32)
	swap := map[string]string{a: b, b: a}
	for _, text := range []string{"", a, b + a, "x" + a + "y", a + a + a, a[:31] + a + b[:31], strings.Repeat("the quick brown ", 9000) + a} {
		want := strings.NewReplacer(a, b, b, a).Replace(text)
		wantZero := strings.ReplaceAll(text, a, zero)
		for _, size := range []int{1, 2, 31, 32, 33, 100, 1 << 20} {
			equal(t, "swapped", rewrite(t, []byte(text), size, swap), []byte(want))
			equal(t, "zeroed", rewrite(t, []byte(text), size, map[string]string{a: zero}), []byte(wantZero))
		}
	}
	// A replacement is not rewritten again, with every size of the pieces.
	chain := map[string]string{a: strings.Repeat("0", 32), strings.Repeat("0", 32): strings.Repeat("1", 32)}
	for size := 1; size < 80; size++ {
		equal(t, "a chain", rewrite(t, []byte(a+"00000000"), size, chain), []byte(strings.Repeat("0", 40)))
	}
}

func TestNewRewriterRejectsInvalid(t *testing.T) {
	a := pathA.HashPart()
	for from, to := range map[string]string{"": "", a: a[1:], a[1:]: a[1:], strings.ToUpper(a): a, a[:31] + "é": a + "x"} {
		if _, err := nar.NewRewriter(io.Discard, map[string]string{from: to}); err == nil {
			t.Errorf("%q to %q was accepted", from, to)
		}
	}
	boom := fmt.Errorf("boom")
	w, _ := nar.NewRewriter(&limitedWriter{100, boom}, map[string]string{a: a})
	if _, err := w.Write(make([]byte, 1000)); err != boom || w.Close() != boom {
		t.Errorf("%v, want %v", err, boom)
	}
}

// The hash does not depend on the object's own hash part, but on all other bytes.
func TestModuloHasher(t *testing.T) {
	sum := func(text string, self storepath.Path) nixhash.Hash {
		h, err := nar.NewModuloHasher(nixhash.SHA256, self.HashPart())
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(h, text)
		hashes := h.Finish()
		if hashes.Size != uint64(len(text)) {
			t.Errorf("size %d, want %d", hashes.Size, len(text))
		}
		return hashes.Plain
	}
	text := func(self storepath.Path) string { return "I am " + string(self) + ", not " + self.HashPart()[:31] }
	want := nixhash.Sum(nixhash.SHA256, []byte(strings.Replace(text(pathA), pathA.HashPart(), strings.Repeat("\x00", 32), 1)))
	if got := sum(text(pathA), pathA); got != want {
		t.Errorf("%v, want %v", got, want)
	}
	if sum(text(pathA), pathB) == want {
		t.Error("the hash does not depend on the hash part of another object")
	}
	moved := strings.ReplaceAll(text(pathA), pathA.HashPart(), pathB.HashPart())
	if sum(moved, pathB) != want {
		t.Error("the hash depends on the object's own hash part")
	}
}

// The offsets of mentions are hashed after the contents, with every size of the pieces.
func TestModuloHasherOffsets(t *testing.T) {
	part := pathA.HashPart()
	text := part + "x" + part + part + strings.Repeat("-", 300<<10) + part[1:] + part + "tail" + part
	h := nixhash.SHA256.New()
	io.WriteString(h, strings.ReplaceAll(text, part, strings.Repeat("\x00", 32)))
	mentions := uint64(0)
	for at := 0; ; at += len(part) {
		next := strings.Index(text[at:], part)
		if next < 0 {
			break
		}
		at += next
		mentions++
		fmt.Fprintf(h, "|%d", at)
	}
	want := nixhash.FromHash(nixhash.SHA256, h)
	for _, size := range []int{1, 7, 31, 32, 33, 64 << 10, len(text)} {
		m, err := nar.NewModuloHasher(nixhash.SHA256, part)
		if err != nil {
			t.Fatal(err)
		}
		for rest := text; rest != ""; {
			n := min(size, len(rest))
			io.WriteString(m, rest[:n])
			rest = rest[n:]
		}
		got := m.Finish()
		if got.WithOffsets != want || got.Mentions != mentions || got.Plain == want || got.Size != uint64(len(text)) {
			t.Errorf("in pieces of %d bytes: %+v, want %v and %d mentions", size, got, want, mentions)
		}
	}
	for _, text := range []string{text, "no mention", ""} {
		plain, withOffsets, err := nar.ModuloTexts([]byte(text), part)
		if err != nil {
			t.Fatal(err)
		}
		m, err := nar.NewModuloHasher(nixhash.SHA256, part)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(m, text)
		if h := m.Finish(); nixhash.Sum(nixhash.SHA256, plain) != h.Plain || nixhash.Sum(nixhash.SHA256, withOffsets) != h.WithOffsets {
			t.Errorf("the texts of %.20q have other hashes", text)
		}
	}
}

// The memory for the offsets of mentions is limited.
func TestModuloHasherManyMentions(t *testing.T) {
	m, err := nar.NewModuloHasher(nixhash.SHA256, pathA.HashPart())
	if err != nil {
		t.Fatal(err)
	}
	piece := []byte(strings.Repeat(pathA.HashPart(), 1<<15))
	for range 4<<20/(1<<15) + 1 {
		m.Write(piece)
	}
	if got := m.Finish(); !got.WithOffsets.IsZero() || got.Plain.IsZero() || got.Mentions != 4<<20+1<<15 {
		t.Errorf("%+v", got)
	}
}

// noise returns n bytes of binary data, of text, or of base-32 digits.
func noise(kind string, n int) []byte {
	r := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, 0, n+100)
	for len(b) < n {
		switch kind {
		case "binary":
			b = append(b, byte(r.Uint32()))
		case "text":
			b = append(b, "the files are in /nix/store, as everyone knows;\n"...)
		case "digits":
			b = append(b, nixbase32.Alphabet[r.IntN(32)])
		}
	}
	return b[:n]
}

func BenchmarkRefScanner(b *testing.B) {
	for _, kind := range []string{"binary", "text", "digits"} {
		b.Run(kind, func(b *testing.B) {
			data := noise(kind, 256<<10)
			s := nar.NewRefScanner([]storepath.Path{pathA, pathB})
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				s.Write(data)
			}
		})
	}
}
