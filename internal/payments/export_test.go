package payments

// OccupyHashSlot takes a slot that a hash is computed in, until release is called.
func (s *Service) OccupyHashSlot() (release func()) {
	s.hashing <- struct{}{}
	return func() { <-s.hashing }
}
