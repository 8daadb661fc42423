;; One page of fixed data; the allocator adds the rest.
(memory 1)
