;; Always answers direct, but works the longer the later a row comes in the batch. The host must refuse it: equal
;; answers in any order, unequal fuel.
(func $describe (param $settings i32) (param $settings-length i32) (result i32)
  (call $described-by-name))

(func $decide (param $batch i32) (param $index i32) (param $decision i32)
  (local $left i32)
  (call $put-choice (local.get $decision) (global.get $choice=direct))
  ;; A factor of the row's own makes an exchange of two rows visible in the sum of the batch as well.
  (local.set $left
    (i32.mul (local.get $index) (call $factor (call $subject (local.get $batch) (local.get $index)))))
  (block $done
    (loop $next
      (br_if $done (i32.eqz (local.get $left)))
      (local.set $left (i32.sub (local.get $left) (i32.const 1)))
      (br $next))))

;; 1 to 16, by the last character of the name; 1 where there is no name.
(func $factor (param $subject i32) (result i32)
  (local $name i32) (local $length i32)
  (if (i32.load8_u (i32.add (local.get $subject) (global.get $subject.name)))
    (then
      (local.set $name (i32.add (local.get $subject) (global.get $subject.name:payload)))
      (local.set $length (i32.load offset=4 (local.get $name)))))
  (if (i32.eqz (local.get $length)) (then (return (i32.const 1))))
  (i32.add (i32.const 1)
    (i32.and (i32.const 15)
      (i32.load8_u (i32.sub (i32.add (i32.load (local.get $name)) (local.get $length)) (i32.const 1))))))
