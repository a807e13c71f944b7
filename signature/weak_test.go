package signature

import (
	"crypto/ed25519"
	"fmt"
	"testing"
)

// For each weak key, Go's ed25519 accepts a forged signature: the neutral element and zero.
// This proves that the table is correct.
func TestVerifyRejectsWeakKeys(t *testing.T) {
	forged := make([]byte, ed25519.SignatureSize)
	forged[0] = 1
	p, pPlus1 := pMinus1, pMinus1 // the same points as 0 and 1, not reduced
	p[0], pPlus1[0] = 0xed, 0xee
	for _, point := range append(weakPoints[:], p, pPlus1) {
		for _, sign := range []byte{0, 0x80} {
			point := point
			point[31] |= sign
			key := PublicKey{"weak", point}
			var message []byte
			for n := 0; ; n++ {
				message = fmt.Append(nil, n)
				if ed25519.Verify(point[:], message, forged) {
					break
				}
				if n == 1000 { // about one message in eight verifies
					t.Fatalf("%x is not weak", point)
				}
			}
			if err := key.Verify(message, Signature{"weak", string(forged)}); err == nil {
				t.Errorf("a forged signature verifies with the weak key %x", point)
			}
		}
	}
}

// Points that differ from a weak point by one bit or by one are not weak.
func TestIsWeakAcceptsOthers(t *testing.T) {
	pMinus2, bit := pMinus1, [32]byte{5: 1}
	pMinus2[0]--
	for _, point := range [][32]byte{pMinus2, bit, {0: 2}, {31: 0x40}} {
		if isWeak(point) {
			t.Errorf("isWeak(%x) = true", point)
		}
	}
}
