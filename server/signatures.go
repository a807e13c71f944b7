package server

import (
	"fmt"

	"pix/store"
)

// What users who are not trusted may make a path have. Everybody may add signatures, as in Nix,
// and they are in every answer about the path from then on; honest ones are a few.
const (
	maxSignatures     = 64
	maxSignatureBytes = 16 << 10
)

// checkSignatures returns an error if a path would get too many signatures by a client who is not
// trusted.
func (c *conn) checkSignatures(info *store.PathInfo, more []string) error {
	if c.privileged {
		return nil
	}
	n, bytes := 0, 0
	seen := make(map[string]bool)
	for _, list := range [...][]string{info.Signatures, more} {
		for _, s := range list {
			if !seen[s] {
				seen[s] = true
				n, bytes = n+1, bytes+len(s)
			}
		}
	}
	if n > maxSignatures || bytes > maxSignatureBytes {
		return fmt.Errorf("'%s' would have %d signatures of %d bytes; users who are not trusted may add up to %d of %d bytes", info.Path, n, bytes, maxSignatures, maxSignatureBytes)
	}
	return nil
}
