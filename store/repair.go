package store

import "context"

// A RepairVerifier is a [Verifier] that can be told where to take objects from that are damaged.
type RepairVerifier interface {
	// VerifyStoreFrom checks the contents, repairs what it can with objects of the store from, and
	// reports whether errors remain. What is not the same as before must be signed by a trusted
	// key, unless its path follows from its contents.
	VerifyStoreFrom(ctx context.Context, checkContents bool, from Store) (errorsRemain bool, err error)
}

// VerifyFrom checks the contents of s, and repairs it with objects of another store; see
// [RepairVerifier].
func VerifyFrom(ctx context.Context, s Store, checkContents bool, from Store) (errorsRemain bool, err error) {
	if v, ok := As[RepairVerifier](s); ok {
		return v.VerifyStoreFrom(ctx, checkContents, from)
	}
	return false, unsupported(s, "take objects from another store to repair itself")
}
