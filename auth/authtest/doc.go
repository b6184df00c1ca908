// Package authtest is what the tests of the authorization server and of everything above it share: an OpenID provider
// that can be told to misbehave, and a clock that moves when it is told to.
//
// Nothing here is for production. The provider also runs outside of testing (StartProvider), since campaign programs
// drive it.
package authtest
