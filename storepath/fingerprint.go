package storepath

import (
	"crypto/sha256"
	"slices"
	"strings"

	"pix/nixbase32"
	"pix/nixhash"
)

// References are the paths that an object refers to. An object that refers to
// itself has no path yet while its path is computed, hence the separate Self.
type References struct {
	Others []Path // in any order; duplicates count once
	Self   bool
}

func (r References) isEmpty() bool { return len(r.Others) == 0 && !r.Self }

// Fingerprint returns the text "<typ>:<digest>:<d>:<name>", where the digest is written
// with its algorithm in base 16. The hash part of a path is the SHA-256 of its
// fingerprint, folded to 20 bytes. [Dir.MakePath] computes the path. The error is an
// [*Error] if the name is not valid.
func (d Dir) Fingerprint(typ string, digest nixhash.Hash, name string) (string, error) {
	if err := CheckName(name); err != nil {
		return "", err
	}
	return string(d.appendFingerprint(nil, typ, digest, name)), nil
}

func (d Dir) appendFingerprint(dst []byte, typ string, digest nixhash.Hash, name string) []byte {
	dst = append(dst, typ...)
	dst = append(dst, ':')
	dst = append(dst, digest.Algorithm().String()...)
	dst = append(dst, ':')
	dst = digest.AppendBase16(dst)
	dst = append(dst, ':')
	dst = append(dst, d...)
	dst = append(dst, ':')
	return append(dst, name...)
}

// MakePath computes the path with the fingerprint [Dir.Fingerprint]. The functions below
// compute their paths with it. The error is an [*Error] if the name is not valid.
func (d Dir) MakePath(typ string, digest nixhash.Hash, name string) (Path, error) {
	if err := CheckName(name); err != nil {
		return "", err
	}
	var few [1024]byte // enough for the fingerprint of a usual derivation, and then for a path
	sum := sha256.Sum256(d.appendFingerprint(few[:0], typ, digest, name))
	folded := [HashPartSize]byte(sum[:HashPartSize])
	for i, b := range sum[HashPartSize:] {
		folded[i] ^= b
	}
	path := append(few[:0], d...)
	path = append(path, '/')
	path = nixbase32.AppendEncode(path, folded[:])
	path = append(path, '-')
	path = append(path, name...)
	return Path(path), nil
}

// The ingredients of a path are everything from which it is computed, except the store directory.
type ingredients struct {
	typ    string
	digest nixhash.Hash
	name   string
}

func (d Dir) pathOf(in ingredients, err error) (Path, error) {
	if err != nil {
		return "", err
	}
	return d.MakePath(in.typ, in.digest, in.name)
}

func (d Dir) fingerprintOf(in ingredients, err error) (string, error) {
	if err != nil {
		return "", err
	}
	return d.Fingerprint(in.typ, in.digest, in.name)
}

// TextPath computes the path of a text object, such as a derivation or the result
// of builtins.toFile. contents must be the SHA-256 of its bytes. The error is an
// [*Error].
func (d Dir) TextPath(name string, contents nixhash.Hash, references []Path) (Path, error) {
	return d.pathOf(d.text(name, contents, references))
}

func (d Dir) text(name string, contents nixhash.Hash, references []Path) (ingredients, error) {
	if contents.Algorithm() != nixhash.SHA256 {
		return ingredients{}, &Error{contents.String(), "the path of a text requires a SHA-256"}
	}
	typ, err := d.typeWith("text", References{Others: references})
	return ingredients{typ, contents, name}, err
}

// SourcePath computes the path of an object that is addressed by the SHA-256 of
// its NAR, such as a source. If the object refers to itself, narHash is the hash
// with the object's own hash part replaced by zeros. The error is an [*Error].
func (d Dir) SourcePath(name string, narHash nixhash.Hash, references References) (Path, error) {
	ca, err := NewContentAddress(NAR, narHash)
	if err != nil {
		return "", err
	}
	if narHash.Algorithm() != nixhash.SHA256 {
		return "", &Error{narHash.String(), "the path of a source requires a SHA-256"}
	}
	return d.FixedOutputPath(name, ca, references)
}

// FixedOutputPath computes the path of an object with the content address ca. Only
// text and NAR with SHA-256 may have references, and a text none to itself. Text
// requires SHA-256, git SHA-1 or SHA-256. The error is an [*Error].
func (d Dir) FixedOutputPath(name string, ca ContentAddress, references References) (Path, error) {
	return d.pathOf(d.fixedOutput(name, ca, references))
}

// FixedOutputFingerprint returns the fingerprint of the path that [Dir.FixedOutputPath]
// computes, also for the errors. A [Dir.TextPath] has the fingerprint of a content address with
// the method Text. For a flat file, a git object, and every algorithm except SHA-256, the
// fingerprint contains the hash of another text: see [FixedOutputText].
func (d Dir) FixedOutputFingerprint(name string, ca ContentAddress, references References) (string, error) {
	return d.fingerprintOf(d.fixedOutput(name, ca, references))
}

func (d Dir) fixedOutput(name string, ca ContentAddress, references References) (ingredients, error) {
	algo := ca.hash.Algorithm()
	switch {
	case ca.IsZero():
		return ingredients{}, &Error{name, "it has no content address"}
	case ca.method == Text && references.Self:
		return ingredients{}, &Error{name, "a text cannot refer to itself"}
	case ca.method == Text:
		return d.text(name, ca.hash, references.Others)
	case ca.method == Git && algo != nixhash.SHA1 && algo != nixhash.SHA256:
		return ingredients{}, &Error{ca.String(), "git objects require SHA-1 or SHA-256"}
	case ca.method == NAR && algo == nixhash.SHA256:
		typ, err := d.typeWith("source", references)
		return ingredients{typ, ca.hash, name}, err
	case !references.isEmpty():
		return ingredients{}, &Error{name, "an object addressed by " + FormatMethodAlgorithm(ca.method, algo) + " cannot have references"}
	}
	return outputIngredients("out", nixhash.Sum(nixhash.SHA256, []byte(FixedOutputText(ca, ""))), name), nil
}

// FixedOutputText returns the text "fixed:out:<method and algorithm>:<digest>:<path>".
// With the path "" its SHA-256 is in the fingerprint of most content-addressed objects:
// see [Dir.FixedOutputFingerprint]. With the path of a fixed output, its SHA-256 is the
// modulo hash of the derivation.
func FixedOutputText(ca ContentAddress, path Path) string {
	return "fixed:out:" + ca.MethodAlgorithm() + ":" + ca.hash.Base16() + ":" + string(path)
}

// OutputPath computes the path of a derivation's output. modulo is the derivation's
// modulo hash with its own outputs blanked, and drvName its name without ".drv".
// The name of the path is [OutputName]. The error is an [*Error].
func (d Dir) OutputPath(output string, modulo nixhash.Hash, drvName string) (Path, error) {
	return d.pathOf(outputIngredients(output, modulo, drvName), nil)
}

// OutputFingerprint returns the fingerprint of the path that [Dir.OutputPath] computes, also for the error.
func (d Dir) OutputFingerprint(output string, modulo nixhash.Hash, drvName string) (string, error) {
	return d.fingerprintOf(outputIngredients(output, modulo, drvName), nil)
}

func outputIngredients(output string, modulo nixhash.Hash, drvName string) ingredients {
	return ingredients{"output:" + output, modulo, OutputName(drvName, output)}
}

// OutputName returns the name of an output's store path: the name of the derivation,
// followed, unless the output is "out", by a dash and the output.
func OutputName(drvName, output string) string {
	if output == "out" {
		return drvName
	}
	return drvName + "-" + output
}

// typeWith appends the references to the type of a fingerprint as Nix does: sorted,
// and each only once.
func (d Dir) typeWith(typ string, references References) (string, error) {
	others := slices.Clone(references.Others)
	slices.Sort(others)
	var b strings.Builder
	b.WriteString(typ)
	for _, p := range slices.Compact(others) {
		if _, err := d.Parse(string(p)); err != nil {
			return "", err
		}
		b.WriteByte(':')
		b.WriteString(string(p))
	}
	if references.Self {
		b.WriteString(":self")
	}
	return b.String(), nil
}
