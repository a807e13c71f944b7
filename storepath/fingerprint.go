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

// MakePath computes the path with the fingerprint "<typ>:<digest>:<d>:<name>", where
// the digest is written with its algorithm in base 16. The functions below compute
// their paths with it. The error is an [*Error] if the name is not valid.
func (d Dir) MakePath(typ string, digest nixhash.Hash, name string) (Path, error) {
	if err := CheckName(name); err != nil {
		return "", err
	}
	return d.makePath(typ, digest.WithBase16(), name), nil
}

func (d Dir) makePath(typ, digest, name string) Path {
	fingerprint := make([]byte, 0, 512)
	fingerprint = append(fingerprint, typ...)
	fingerprint = append(fingerprint, ':')
	fingerprint = append(fingerprint, digest...)
	fingerprint = append(fingerprint, ':')
	fingerprint = append(fingerprint, d...)
	fingerprint = append(fingerprint, ':')
	fingerprint = append(fingerprint, name...)
	sum := sha256.Sum256(fingerprint)

	folded := [HashPartSize]byte(sum[:HashPartSize])
	for i, b := range sum[HashPartSize:] {
		folded[i] ^= b
	}
	path := make([]byte, 0, len(d)+1+HashPartLen+1+len(name))
	path = append(path, d...)
	path = append(path, '/')
	path = nixbase32.AppendEncode(path, folded[:])
	path = append(path, '-')
	path = append(path, name...)
	return Path(path)
}

// TextPath computes the path of a text object, such as a derivation or the result
// of builtins.toFile. contents must be the SHA-256 of its bytes. The error is an
// [*Error].
func (d Dir) TextPath(name string, contents nixhash.Hash, references []Path) (Path, error) {
	if contents.Algorithm() != nixhash.SHA256 {
		return "", &Error{contents.String(), "the path of a text requires a SHA-256"}
	}
	typ, err := d.typeWith("text", References{Others: references})
	if err != nil {
		return "", err
	}
	return d.MakePath(typ, contents, name)
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
	algo := ca.hash.Algorithm()
	switch {
	case ca.IsZero():
		return "", &Error{name, "it has no content address"}
	case ca.method == Text && references.Self:
		return "", &Error{name, "a text cannot refer to itself"}
	case ca.method == Text:
		return d.TextPath(name, ca.hash, references.Others)
	case ca.method == Git && algo != nixhash.SHA1 && algo != nixhash.SHA256:
		return "", &Error{ca.String(), "git objects require SHA-1 or SHA-256"}
	case ca.method == NAR && algo == nixhash.SHA256:
		typ, err := d.typeWith("source", references)
		if err != nil {
			return "", err
		}
		return d.MakePath(typ, ca.hash, name)
	case !references.isEmpty():
		return "", &Error{name, "an object addressed by " + FormatMethodAlgorithm(ca.method, algo) + " cannot have references"}
	}
	inner := "fixed:out:" + ca.MethodAlgorithm() + ":" + ca.hash.Base16() + ":"
	return d.OutputPath("out", nixhash.Sum(nixhash.SHA256, []byte(inner)), name)
}

// OutputPath computes the path of a derivation's output. modulo is the derivation's
// modulo hash with its own outputs blanked, and drvName its name without ".drv".
// The name of the path is [OutputName]. The error is an [*Error].
func (d Dir) OutputPath(output string, modulo nixhash.Hash, drvName string) (Path, error) {
	return d.MakePath("output:"+output, modulo, OutputName(drvName, output))
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
