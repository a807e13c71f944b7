module pix/bench

go 1.26.0

require pix v0.0.0

require (
	github.com/klauspost/cpuid/v2 v2.0.9 // indirect
	github.com/nix-community/go-nix v0.0.0-20250101154619-4bdde671e0a1
	lukechampine.com/blake3 v1.4.1 // indirect
)

replace pix => ../
