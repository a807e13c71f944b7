package store

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"pix/nixhash"
	"pix/signature"
	"pix/storepath"
)

// A PathInfo describes a valid path.
type PathInfo struct {
	Path    storepath.Path
	Deriver storepath.Path // the derivation that built it; "" if unknown

	// References are the store paths that the object mentions, sorted. They may include its own
	// path.
	References []storepath.Path

	// RegistrationTime is the time when the path became valid, in whole seconds, or the zero
	// time if unknown.
	RegistrationTime time.Time

	// Signatures have the form "key name:base64", sorted.
	Signatures []string

	// The order of the other fields saves 32 bytes for each info. A large closure has millions
	// of them.

	NARSize uint64       // size of the archive in bytes; 0 if unknown
	NARHash nixhash.Hash // SHA-256 of the object's archive

	// CA is the content address of a content-addressed object, otherwise the zero value.
	CA storepath.ContentAddress

	// Ultimate says that this store built the object itself, and so trusts it without a
	// signature.
	Ultimate bool
}

// Fingerprint returns the text that signatures of the path sign: see
// [signature.PathFingerprint], also for the errors.
func (info *PathInfo) Fingerprint() ([]byte, error) {
	return signature.PathFingerprint(info.Path, info.NARHash, info.NARSize, info.References)
}

// Sign adds signatures by the keys. It fails if the path has no fingerprint.
func (info *PathInfo) Sign(keys ...signature.SecretKey) error {
	fingerprint, err := info.Fingerprint()
	if err != nil {
		return err
	}
	signatures := slices.Clone(info.Signatures)
	for _, k := range keys {
		signatures = append(signatures, k.Sign(fingerprint).String())
	}
	slices.Sort(signatures)
	info.Signatures = slices.Compact(signatures)
	return nil
}

// CheckSignatures returns the valid signatures by trusted keys. Nix accepts a path with one of
// them from any user. A path that [PathInfo.IsContentAddressed] needs none, which
// CheckSignatures ignores.
//
// The error is an error of Fingerprint, or a [*signature.Error] for the first malformed
// signature. In the latter case the valid ones among the others are returned, too. Nix would
// refuse the path.
func (info *PathInfo) CheckSignatures(trusted signature.KeySet) (good []signature.Signature, err error) {
	fingerprint, err := info.Fingerprint()
	if err != nil {
		return nil, err
	}
	var malformed error
	signatures := make([]signature.Signature, 0, len(info.Signatures))
	for _, text := range info.Signatures {
		s, err := signature.Parse(text)
		if err == nil {
			signatures = append(signatures, s)
		} else if malformed == nil {
			malformed = err
		}
	}
	good, err = trusted.Verify(fingerprint, signatures...)
	if malformed != nil {
		err = malformed
	}
	return good, err
}

// IsContentAddressed reports whether the path follows from the content address and the
// references, so that no signature is needed. If the content address does not match the path,
// it is ignored. The caller must still compare the contents, whose address may be weak: see
// [PathInfo.CheckContents].
func (info *PathInfo) IsContentAddressed() bool {
	if info.CA.IsZero() {
		return false
	}
	var references storepath.References
	for _, p := range info.References {
		if p == info.Path {
			references.Self = true
		} else {
			references.Others = append(references.Others, p)
		}
	}
	path, err := info.Path.Dir().FixedOutputPath(info.Path.Name(), info.CA, references)
	return err == nil && path == info.Path
}

// A ReferenceCycleError reports objects that refer to each other in a cycle, so that none of
// them can be added first. A store that follows the rules of Nix has none.
type ReferenceCycleError struct {
	Path storepath.Path // an object in the cycle
	From storepath.Path // another one that refers to Path; "" if unknown
}

func (e *ReferenceCycleError) Error() string {
	if e.From == "" {
		return fmt.Sprintf("cycle detected in the references of '%s'", e.Path)
	}
	return fmt.Sprintf("cycle detected in the references of '%s' from '%s'", e.Path, e.From)
}

// SortByReferences returns the infos sorted so that each comes after its references, ignoring
// self-references and paths that are not among the infos. Otherwise the order is the one in
// which Nix exports: the references of a path come right before it, sorted by path. The error
// is a [*ReferenceCycleError].
//
// Source: topo-sort.hh, in reverse order.
func SortByReferences(infos []*PathInfo) ([]*PathInfo, error) {
	nodes := make(map[storepath.Path]*sortNode, len(infos))
	for _, info := range infos {
		nodes[info.Path] = &sortNode{info: info}
	}
	starts := slices.SortedFunc(slices.Values(infos), func(a, b *PathInfo) int { return cmp.Compare(a.Path, b.Path) })
	sorted := make([]*PathInfo, 0, len(infos))
	for _, start := range starts {
		// Closures can be deep, so this is not recursive.
		for stack := []*sortNode{nodes[start.Path]}; len(stack) > 0; {
			top := stack[len(stack)-1]
			next := top.nextUnsorted(nodes)
			switch {
			case next == nil:
				if !top.sorted {
					top.sorted = true
					sorted = append(sorted, top.info)
				}
				stack = stack[:len(stack)-1]
			case next.sorted:
			case next.entered:
				return nil, &ReferenceCycleError{Path: next.info.Path, From: top.info.Path}
			default:
				stack = append(stack, next)
			}
		}
	}
	return sorted, nil
}

// A sortNode is a path that is being sorted.
type sortNode struct {
	info            *PathInfo
	nextRef         int // index of the next reference to visit
	entered, sorted bool
}

// nextUnsorted returns the next of the infos to be sorted that s refers to, or nil.
func (s *sortNode) nextUnsorted(nodes map[storepath.Path]*sortNode) *sortNode {
	s.entered = true
	for s.nextRef < len(s.info.References) {
		ref := s.info.References[s.nextRef]
		s.nextRef++
		if n := nodes[ref]; n != nil && n != s {
			return n
		}
	}
	return nil
}
