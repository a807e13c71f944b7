package signature

// Eight points of the curve have an order of 8 or less. Anybody can make signatures that
// verify with one of these points as the public key, without a secret key. Go's ed25519
// accepts such keys. libsodium, which Nix uses, rejects these points both as a public key and
// as the first half of a signature. It also rejects public keys whose coordinate is not
// reduced. See section 8.9 of RFC 8032 and "Taming the many EdDSAs" by Chalkias and others.

// weakPoints are the y coordinates of these points as little-endian numbers. Points that
// differ only in the sign, which is the highest bit, have one entry.
var weakPoints = [...][32]byte{
	{},      // order 4
	{0: 1},  // order 1
	pMinus1, // order 2
	{0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0,
		0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05}, // order 8
	{0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f,
		0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a}, // order 8
}

// pMinus1 is p - 1, where p = 2^255 - 19 is the size of the field.
var pMinus1 = func() (b [32]byte) {
	for i := range b {
		b[i] = 0xff
	}
	b[0], b[31] = 0xec, 0x7f
	return b
}()

// isWeak reports whether point is one of the weak points, or not reduced (p or more).
func isWeak(point [32]byte) bool {
	point[31] &= 0x7f
	for _, weak := range weakPoints {
		if point == weak {
			return true
		}
	}
	lowest := point[0]
	point[0] = pMinus1[0]
	return point == pMinus1 && lowest > pMinus1[0]
}
