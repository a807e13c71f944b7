package signature

import (
	"crypto/ed25519"
	"fmt"
	"testing"
)

// For each weak key there is a signature that Go takes and that nobody's secret made: the
// neutral element and zero. It is the proof that the table is right; we must refuse it.
func TestWeakKeys(t *testing.T) {
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
				if n == 1000 { // one in eight would do
					t.Fatalf("%x is not weak", point)
				}
			}
			if err := key.Verify(message, Signature{"weak", string(forged)}); err == nil {
				t.Errorf("with the weak key %x everything verifies", point)
			}
		}
	}
}

// Points that are nearly like the weak ones are not.
func TestStrongKeys(t *testing.T) {
	pMinus2, bit := pMinus1, [32]byte{5: 1}
	pMinus2[0]--
	for _, point := range [][32]byte{pMinus2, bit, {0: 2}, {31: 0x40}} {
		if isWeak(point) {
			t.Errorf("%x is taken for weak", point)
		}
	}
}
